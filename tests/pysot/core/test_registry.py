import pytest

from pysot.core.registry import Registry


def test_unknown_names_list_the_known_ones():
    heads = Registry("head", "RPN.TYPE")
    heads.register("a")(dict)
    with pytest.raises(ValueError, match=r"RPN.TYPE: unknown head 'b'; known: a"):
        heads.get("b")


def test_a_name_can_be_taken_once():
    heads = Registry("head", "RPN.TYPE")
    heads.register("a")(dict)
    with pytest.raises(ValueError, match="registered already"):
        heads.register("a")(list)


def test_arguments_that_do_not_fit_name_the_section():
    heads = Registry("head", "RPN.TYPE")

    @heads.register("a")
    def build(width):
        return width

    assert heads.build("a", width=3) == 3
    with pytest.raises(ValueError, match=r"RPN\.KWARGS do not fit head 'a'.*widht"):
        heads.build("a", widht=3)


def test_a_name_goes_before_its_family():
    heads = Registry("head", "RPN.TYPE")
    heads["of:"], heads["of:one"] = str, dict
    assert heads.get("of:one") is dict
    assert heads.build("of:two") == "two"
