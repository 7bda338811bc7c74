import pickle
import sys

import pytest

from toolkit.io.packages import explain_opencv, load_package


def test_a_package_that_is_there_is_imported():
    assert load_package("json.decoder", "json", "this needs") is sys.modules["json.decoder"]


def test_one_that_is_absent_is_named_as_one_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.delitem(sys.modules, "PIL.Image", raising=False)
    match = r"^masks need Pillow: pip install Pillow$"
    with pytest.raises(ModuleNotFoundError, match=match) as error:
        load_package("PIL.Image", "Pillow", "masks need")
    assert isinstance(error.value, ValueError)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("import nowhere", "No module named 'nowhere'"),
        ("raise RuntimeError('operator torchvision::nms does not exist')", "operator torchvision"),
        ("raise OSError('libfoo.so: cannot open')", "libfoo"),
        ("raise ValueError('numpy.dtype size changed')", "numpy.dtype size"),
        ("raise AttributeError", "AttributeError"),
        ("1 +", "invalid syntax"),
    ],
)
def test_one_that_is_broken_is_told_from_one_that_is_absent(content, reason, tmp_path, monkeypatch):
    (tmp_path / "vision_.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "vision_", raising=False)
    pattern = rf"^it needs vision, which is installed but broken \({reason}.*\); install it again$"
    with pytest.raises(ImportError, match=pattern) as error:
        load_package("vision_", "vision", "it needs")
    assert not isinstance(error.value, ModuleNotFoundError)
    assert isinstance(error.value, ValueError)  # of which commands print one line
    again = pickle.loads(pickle.dumps(error.value))  # from a worker process
    assert (type(again), str(again)) == (type(error.value), str(error.value))


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (ModuleNotFoundError("No module named 'cv2'", name="cv2"), "pip install opencv-python"),
        (
            ImportError("libGL.so.1: cannot open shared object file", name="cv2"),
            r"apt-get install libgl1 libglib2.0-0; or, .* then pip install opencv-python-headless",
        ),
        (ImportError("DLL load failed\nwhile", name="cv2"), ".*--force-reinstall opencv-python"),
    ],
)
def test_opencv_that_does_not_load_says_what_to_install(error, advice):
    pattern = rf"^OpenCV does not load \(.*\): {advice}$"
    with pytest.raises(ImportError, match=pattern) as caught, explain_opencv():
        raise error
    assert isinstance(caught.value, ValueError)  # of which commands print one line
    with pytest.raises(ImportError, match=pattern), explain_opencv():
        raise caught.value  # through two doors


def test_what_is_not_about_opencv_passes():
    error = ImportError("no", name="scipy")
    with pytest.raises(ImportError) as caught, explain_opencv():
        raise error
    assert caught.value is error
