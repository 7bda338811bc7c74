import pytest
from training_crops import write_training_set

from pysot.cli.pack import main
from pysot.core.errors import RunFailed
from pysot.datasets.crop_store import CropPack, open_crops


@pytest.mark.parametrize("options", [[], ["--decoded"]])
def test_a_folder_becomes_a_pack(tmp_path, capsys, options):
    write_training_set(tmp_path, videos=2)
    main([str(tmp_path / "crop511"), str(tmp_path / "pack"), *options])
    pack = open_crops(tmp_path / "pack")
    assert isinstance(pack, CropPack) and pack.read("v1", 2, "00").shape == (511, 511, 3)
    assert "6 crops" in capsys.readouterr().out


def test_what_cannot_be_packed_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        main([str(tmp_path / "nowhere"), str(tmp_path / "pack")])
    write_training_set(tmp_path, videos=1)
    bad = tmp_path / "crop511" / "v0" / "000001.00.x.jpg"
    bad.write_bytes(b"text")
    with pytest.raises(RunFailed, match=r"000001\.00\.x\.jpg: no image"):
        main([str(tmp_path / "crop511"), str(tmp_path / "pack"), "--decoded"])
    assert not list((tmp_path / "pack").glob("*.tar"))
