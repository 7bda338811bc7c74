import pickle
import sys

import pytest

from toolkit.io.packages import load_package


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
