import tomllib

import hypothesis
import pytest
from hypothesis import strategies as st

from xferbench.errors import FormatError, UnknownNameError, UsageError
from xferbench.references import SCHEMES
from xferbench.registry import STRATEGIES
from xferbench.schema import parse
from xferbench.transfer.config import (
    PRESETS,
    RUNTIME,
    LossWeights,
    ReferenceChoice,
    TrainConfig,
    make_config,
    plain,
    read_method,
    to_toml,
)


def test_the_defaults_are_the_settings_of_the_paper():
    config = make_config()
    assert config == TrainConfig()
    assert (config.huber_delta, config.loss) == (0.1, LossWeights(energy=3, forces=1, stress=0.1, magmoms=1))
    assert (config.optimizer, config.lr, config.final_lr, config.schedule) == ("adam", 1e-3, 1e-5, "cosine")
    assert (config.batch_size, config.epochs, config.select, config.weight_decay) == (64, 50, "energy", 0)
    assert (config.clip, config.ema, config.matmul, config.warmup) == (None, None, "highest", 0)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_a_valid_configuration(preset):
    assert isinstance(make_config(preset), TrainConfig)


def test_later_settings_win(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text("lr = 0.5\nseed = 4\n[loss]\nenergy = 2.0\n")
    config = make_config("small", path=path, settings=["seed=5", "loss.forces=9"], lr=None, epochs=7)
    assert (config.batch_size, config.lr, config.seed, config.epochs) == (PRESETS["small"]["batch_size"], 0.5, 5, 7)
    assert config.loss == LossWeights(energy=2, forces=9)


def test_what_is_no_toml_value_is_text():
    assert make_config(settings=["model=chgnet:a/b.pth.tar"]).model == "chgnet:a/b.pth.tar"
    assert make_config(settings=["options.name=a.json", "options.rank=4"]).options == {"name": "a.json", "rank": 4}


def test_seed_0_is_a_seed_and_epochs_0_are_none():
    config = make_config("small", seed=0, epochs=0)
    assert (config.seed, config.epochs) == (0, 0)


@pytest.mark.parametrize(
    "config", [TrainConfig(), make_config("small", options={"rank": 2}, loggers=["wandb"], clip=2)]
)
def test_written_settings_are_read_back(config, tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(to_toml(config))
    assert make_config(path=path) == config
    assert parse(TrainConfig, plain(config), "here") == config
    assert tomllib.loads(to_toml(config))["lr"] == config.lr


def test_the_recipe_leaves_out_how_a_run_is_carried_out():
    here, there = make_config(device="cpu", threads=1), make_config(device="cuda", workers=3, save_steps=7)
    assert here.recipe() == there.recipe()
    assert not RUNTIME & here.recipe().keys()
    assert here.recipe() != make_config(lr=2e-3).recipe()


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (["lr"], UsageError, "setting 'lr' is not key=value, like lr=3e-4 or loss.energy=1"),
        (["lr=fast"], UsageError, "lr must be a number, not text"),
        (["learning_rate=1"], UsageError, "unknown key learning_rate"),
        (["loss.energie=1"], UsageError, "unknown key loss.energie (did you mean energy?)"),
        (["schedule=linear"], UsageError, "schedule must be one of cosine, constant, not 'linear'"),
        (["lr=0", "subset=2"], UsageError, "subset = 2.0 must be above 0 and at most 1; lr = 0.0 must be positive"),
        (["seed=-1"], UsageError, "seed = -1 must be 0 or more"),
        (["loss.energy=0", "loss.forces=0", "loss.stress=0", "loss.magmoms=0"], UsageError, "not all 0"),
        (['loggers=["csv"]'], UsageError, "must be tensorboard or wandb"),
    ],
)
def test_wrong_settings_are_named(settings, error, message):
    with pytest.raises(error) as caught:
        make_config(settings=settings)
    assert message in str(caught.value)


def test_a_wrong_key_in_a_file_is_blamed_on_the_file(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text("learning_rate = 1\n")
    with pytest.raises(FormatError, match=r"settings\.toml: unknown key learning_rate"):
        make_config(path=path, settings=["seed=1"])


def test_an_unknown_preset_lists_the_known_ones():
    with pytest.raises(UnknownNameError, match="unknown preset 'papper-1'; did you mean 'paper-1'"):
        make_config("papper-1")


@hypothesis.given(
    st.builds(
        TrainConfig,
        model=st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1).map("chgnet:{}".format),
        strategy=st.sampled_from(["finetune", "lora"]),
        references=st.sampled_from(["", "fit", "source:lr=0.5", "paired:after=7"]),
        lr=st.floats(1e-12, 1e3),
        clip=st.none() | st.floats(1e-6, 1e6),
        seed=st.integers(0, 2**62),
        loggers=st.sampled_from([(), ("wandb",), ("tensorboard", "wandb")]),
        loss=st.builds(LossWeights, energy=st.floats(0.1, 10), forces=st.floats(0, 10)),
        options=st.dictionaries(
            st.sampled_from(["rank", "after", "atoms"]), st.integers(0, 9) | st.text('ab"\\é', max_size=4)
        ),
    )
)
@hypothesis.example(TrainConfig(model='chgnet:a\x7f\x00\n"\\é'))
def test_any_settings_survive_a_file(config):
    values = tomllib.loads(to_toml(config))
    assert parse(TrainConfig, values, "file") == config


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_goes_with_every_scheme_or_says_in_one_line_why_not(strategy, scheme):
    if strategy == "scratch" and scheme not in {"fit", "source"}:
        with pytest.raises(UsageError, match="scratch starts from none; take fit") as caught:
            TrainConfig(strategy=strategy, references=scheme)
        assert "\n" not in str(caught.value)
    else:
        assert TrainConfig(strategy=strategy, references=scheme).method == f"{strategy}+{scheme}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fit", ReferenceChoice(scheme="fit")),
        ("fit:frozen", ReferenceChoice(scheme="fit")),
        ("source:trainable", ReferenceChoice(scheme="source", trains=True)),
        ("source:lr=0.3", ReferenceChoice(scheme="source", trains=True, lr=0.3)),
        ("two-step:after=500", ReferenceChoice(scheme="two-step", trains=True, after=500)),
    ],
)
def test_references_are_a_scheme_and_how_it_trains(text, expected):
    assert ReferenceChoice.read(text) == expected


@pytest.mark.parametrize("text", ["fit:", "fit:lr", "fit:lr=-1", "fit:after=soon", "fit:thawed"])
def test_what_is_not_understood_of_references_is_one_line(text):
    with pytest.raises(UsageError, match=r"after fit: comes frozen, trainable, lr=0\.3 .* or after=500"):
        ReferenceChoice.read(text)


def test_references_that_train_go_with_no_strategy_where_nothing_does():
    with pytest.raises(UsageError, match="and with zero-shot nothing does; take fit"):
        TrainConfig(strategy="zero-shot", references="fit:trainable")


def test_the_default_references_are_model_aware_where_there_is_a_model():
    assert (TrainConfig().references, TrainConfig(strategy="scratch").references) == ("model-aware", "fit")


def test_the_four_methods_of_the_paper():
    found = {name: make_config(name).method for name in PRESETS if name.startswith("paper")}
    assert found == {
        "paper-1": "scratch+fit",
        "paper-2": "finetune+source:trainable",
        "paper-3": "finetune+source",
        "paper-4": "finetune+fit",
    }
    assert make_config(["paper-4", "small"]).batch_size == PRESETS["small"]["batch_size"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("paper-4", {"strategy": "finetune", "references": "fit"}),
        ("lora", {"strategy": "lora", "references": "model-aware"}),
        ("finetune+source:lr=0.3", {"strategy": "finetune", "references": "source:lr=0.3"}),
        ("sevennet:7net-0/paper-1", {"strategy": "scratch", "references": "fit", "model": "sevennet:7net-0"}),
    ],
)
def test_one_word_is_a_method(text, expected):
    assert read_method(text) == expected


@pytest.mark.parametrize("text", ["papper-4", "small", "lora+fitt", "scratch+paired", "paper-4+fit", "foo:1/lora"])
def test_a_word_that_is_none_is_one_line(text):
    with pytest.raises((UnknownNameError, UsageError)):
        read_method(text)
