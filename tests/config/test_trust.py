"""Classes of a user's own come out of a checkpoint only where the user says so."""

import pytest
from omegaconf import OmegaConf

from diptych.config.checking import check_untrusted

MODULE = "from subprocess import Popen\n\nclass Part:\n    pass\n\ndef function():\n    pass\n"


@pytest.fixture
def package(tmp_path, monkeypatch):
    name = f"of_a_user_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def checked(target):
    return check_untrusted(OmegaConf.create({"part": {"_target_": target}}))


def test_nothing_is_imported_without_a_word_of_the_user(package, monkeypatch):
    import sys

    monkeypatch.delenv("DIPTYCH_TRUST", raising=False)
    with pytest.raises(ValueError, match=rf"{package}.Part is not allowed in a checkpoint's config; nothing was built"):
        checked(f"{package}.Part")
    assert package not in sys.modules


def test_a_trusted_package_gives_its_own_classes_and_nothing_else(package, monkeypatch):
    monkeypatch.setenv("DIPTYCH_TRUST", f"another, {package}")
    assert checked(f"{package}.Part").part._target_ == f"{package}.Part"
    for target in (f"{package}.function", f"{package}.Popen", f"{package}2.Part", "os.system"):
        with pytest.raises(ValueError, match="nothing was built"):
            checked(target)


def test_pythons_own_modules_are_nobodys_package(monkeypatch):
    monkeypatch.setenv("DIPTYCH_TRUST", "subprocess,os")
    with pytest.raises(ValueError, match=r"subprocess.Popen is not allowed"):
        checked("subprocess.Popen")
