"""Loading with torchvision."""

from __future__ import annotations


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    """No test may reach the network; torchvision's checksums of the real files are set aside."""

    def raise_faults(*_, **__):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", raise_faults)
    for module in (vision.cifar, vision.stl10, vision.flowers102, vision.imagenet):
        monkeypatch.setattr(module, "check_integrity", lambda path, *_, **__: Path(path).exists())


@pytest.mark.parametrize("name", NAMES)
def test_set_raises_one_line_when_it_cannot_be_fetched(name, tmp_path):
    """Guards tracebacks out of torchvision where there is no network."""
    with pytest.raises(DataError) as caught:
        open_source(name, root=tmp_path / "sets")
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{name} ")
    assert "--data.root" in message
    assert str(tmp_path / "sets") in message


def test_set_names_the_cause_when_the_network_is_away(tmp_path):
    """Guards an error that hides why."""
    with pytest.raises(DataError, match=r"could not be downloaded .*service not known"):
        open_source("cifar10", root=tmp_path)


def test_set_is_not_fetched_when_downloading_is_off(tmp_path, monkeypatch):
    """Guards a download behind the user's back."""
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: pytest.fail("fetched"))
    with pytest.raises(DataError, match="downloading is off"):
        open_source("cifar10", root=tmp_path, download=False)


def test_default_root_follows_the_environment(monkeypatch, tmp_path):
    """Guards a variable that is documented and not read."""
    monkeypatch.setenv("MASSRL_DATA", str(tmp_path))
    assert default_root() == tmp_path
    monkeypatch.delenv("MASSRL_DATA")
    assert default_root() == Path.home() / ".cache" / "massrl" / "datasets"
