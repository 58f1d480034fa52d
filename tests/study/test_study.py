import pytest

from xseg.study import dry_run, read_study, shipped_studies
from xseg.study.study import slug

GRID = """'''Which?'''
variants = {"a": {}, "b": {"model.backbone.residual": False}}
sizes = {"cpu": {"config": "shapes/study"}, "large": {"config": "shapes/study", "variants": {"c": {}}}}
"""


@pytest.fixture
def write(tmp_path):
    def write(text: str = GRID):
        (tmp_path / "which.py").write_text(text)
        return tmp_path / "which.py"

    return write


def test_a_file_is_a_study_with_sizes(write):
    study = read_study(write())
    assert (study.name, study.title, study.seeds) == ("which", "Which?", (0, 1, 2))
    assert [*study.variants] == ["a", "b"]
    large = read_study(write(), "large", seeds=[3])
    assert [*large.variants] == ["c"] and large.seeds == (3,)


@pytest.mark.parametrize("name", shipped_studies())
@pytest.mark.parametrize("size", ["cpu", "gpu"])
def test_every_variant_of_a_shipped_study_can_be_built(name, size):
    study = read_study(name, size)
    costs = dry_run(study)
    assert len(costs) >= 2 and len(study.seeds) >= 3 and study.paper
    assert f"xseg study {name}" in shipped_studies()[name].read_text()
    parameters = [cost.parameters for cost in costs.values()]
    assert len({cost for cost in costs.values()}) > 1 or name == "activation"
    if name == "spectrum":  # at equal parameters
        assert parameters == pytest.approx([parameters[-1]] * 4, rel=0.01)


def test_the_networks_that_the_paper_compares_have_their_sizes():
    """22,855,952 parameters of Xception; those of torchvision's Inception V3 without auxiliary tower."""
    costs = dry_run(read_study("inception", "gpu"))
    assert {name: cost.parameters for name, cost in costs.items()} == {
        "Xception": 22_855_952,
        "Inception V3": 23_834_568,
    }
    assert costs["Xception"].gmac == pytest.approx(8.36, abs=0.006)


def test_a_study_can_be_read_and_built_twice():
    """A variant that replaces the backbone replaces it the second time too."""
    study = read_study("inception")
    assert dry_run(study) == dry_run(study)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("variants", "varients"), "unknown key varients; did you mean 'variants'"),
        (("'large'", "'large'"), None),
        (('"config": "shapes/study"}', '"confg": "x"}'), "unknown key sizes.cpu.confg; did you mean 'config'"),
        (('"shapes/study"}', '"xception_studdy"}'), "did you mean 'shapes/study'"),
        (('"b"', '"A"'), "must differ in letters or digits, not only in case and signs; got a, A"),
        (("sizes", "better = [('a', 'bb')]\nsizes"), "`better` names 'bb', which is no variant"),
        (("sizes", "axis = 'gmak'\nsizes"), "did you mean 'gmac'"),
    ],
)
def test_mistakes_are_named(write, change, message):
    path = write(GRID.replace(*change, 1))
    if message is None:
        with pytest.raises(ValueError, match="size must be one of cpu, large, got 'lage'; did you mean 'large'"):
            read_study(path, "lage")
        return
    with pytest.raises((KeyError, ValueError, FileNotFoundError), match=message):
        read_study(path)


def test_an_override_that_no_config_has_is_refused_before_any_training(write):
    study = read_study(write(GRID.replace("residual", "residuals")))
    with pytest.raises(KeyError, match=r"did you mean 'model.backbone.residual'"):
        dry_run(study)


def test_unknown_studies_and_repeated_seeds():
    with pytest.raises(FileNotFoundError, match="no study 'residul'; did you mean 'residual'"):
        read_study("residul")
    with pytest.raises(ValueError, match="seeds must be one or more different numbers"):
        read_study("residual", seeds=[1, 1])


def test_slugs():
    assert [slug(name) for name in ("1 a channel", "3/16 wide, 8 modules", "ReLU")] == [
        "1-a-channel",
        "3-16-wide-8-modules",
        "relu",
    ]
