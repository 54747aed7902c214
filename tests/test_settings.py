"""Flags, the environment, .env files, the settings file, defaults, in this order; one sentence for what is wrong."""

import inspect
from collections.abc import Mapping
from dataclasses import Field
from typing import Any

import pytest

from orchestra.conduct.session.preflight import restore_recorded_settings
from orchestra.errors import SettingsError
from orchestra.gateway.recording import Recording
from orchestra.providers import catalogue
from orchestra.settings import (
    CONFLICTING_OPTIONS,
    REPOSITORY_ENV,
    SCRIPT_ENV,
    Settings,
    SettingsFile,
    key_of,
    load_settings,
    mask_value,
    option_fields,
)
from orchestra.settings.option import Power, define_option, variables_of

Env = Mapping[str, str]
TOML = "aider-orchestrator.toml"


def loaded(
    *,
    flags: Mapping[str, Any] | None = None,
    env: Env | None = None,
    repository: Env | None = None,
    script: Env | None = None,
    toml: Mapping[str, Any] | None = None,
) -> Settings:
    places = [("environment", env or {}), (REPOSITORY_ENV, repository or {}), (SCRIPT_ENV, script or {})]
    return load_settings(flags or {}, places, [SettingsFile(TOML, toml or {})])


# --- precedence -----------------------------------------------------------------------------------------------------

EVERYWHERE: dict[str, Any] = {
    "flags": {"model": "from-flag"},
    "env": {"ORCHESTRA_MODEL": "from-env"},
    "repository": {"ORCHESTRA_MODEL": "from-repository"},
    "script": {"ORCHESTRA_MODEL": "from-script"},
    "toml": {"model": "from-toml"},
}


@pytest.mark.parametrize(
    ("missing", "value", "source"),
    [
        (0, "from-flag", "flag"),
        (1, "from-env", "environment ORCHESTRA_MODEL"),
        (2, "from-repository", "repository .env ORCHESTRA_MODEL"),
        (3, "from-script", "script .env ORCHESTRA_MODEL"),
        (4, "from-toml", TOML),
        (5, "", "default"),
    ],
)
def test_the_strongest_place_counts(missing: int, value: str, source: str) -> None:
    settings = loaded(**{place: EVERYWHERE[place] for place in list(EVERYWHERE)[missing:]})
    assert (settings.model, settings.sources["model"]) == (value, source)


def test_a_weaker_name_in_a_stronger_place_counts() -> None:
    settings = loaded(env={"LITELLM_MODEL": "strong"}, repository={"ORCHESTRA_MODEL": "weak"})
    assert settings.model == "strong"
    settings = loaded(env={"GEMINI_API_KEY": "strong-key"}, repository={"GOOGLE_API_KEY": "weak-key"})
    assert (settings.api_key, settings.strongest_variable(catalogue.PROVIDERS["gemini"].key_vars)[0]) == (
        "strong-key",
        "strong-key",
    )


def test_in_one_place_our_own_name_counts_first() -> None:
    env = {"LITELLM_MODEL": "c", "DEFAULT_AIDER_MODEL": "b", "ORCHESTRA_MODEL": "a"}
    for expected in "abc":
        assert loaded(env=env).model == expected
        env.popitem()


@pytest.mark.parametrize("empty", ["", "  "])
def test_an_empty_variable_is_none(empty: str) -> None:
    assert loaded(env={"ORCHESTRA_MODEL": empty}, script={"ORCHESTRA_MODEL": "x"}).model == "x"
    assert loaded(env={"OPENAI_API_KEY": empty}).strongest_variable(["OPENAI_API_KEY"]) == ("", "")


def test_every_option_has_its_own_variable_and_key() -> None:
    names = [name for f in option_fields() for name in variables_of(f)]
    assert len(set(names)) == len(names)
    assert len({key_of(f) for f in option_fields()}) == len(option_fields())


@pytest.mark.parametrize(
    ("variable", "option"),
    [
        ("DEFAULT_AIDER_MODEL", "model"),
        ("LITELLM_MODEL", "model"),
        ("DEFAULT_CLAUDE_MODEL", "claude_model"),
        ("DEFAULT_GEMINI_MODEL", "gemini_model"),
        ("GEMINI_CLIENT", "gemini_client"),
        ("GOOGLE_API_KEY", "api_key"),
        ("GEMINI_API_KEY", "api_key"),
    ],
)
def test_the_seeds_variables(variable: str, option: str) -> None:
    assert getattr(loaded(repository={variable: "sdk"}), option) == "sdk"


def test_store_word_names_the_url_of_other_orchestrators() -> None:
    url = "postgresql://me:secret@host/runs"
    assert loaded(flags={"store": "postgres"}, script={"POSTGRES_URI": url}).store == url
    assert loaded(env={"ORCHESTRA_STORE": "mysql", "MYSQL_URI": "mysql://host/runs"}).store == "mysql://host/runs"
    assert loaded(env={"POSTGRES_URI": url}).store == ""  # it may be the application's own database
    assert loaded(flags={"store": "sqlite"}).store == ""
    with pytest.raises(SettingsError, match="the store is 'mysql', and MYSQL_URI is not set"):
        loaded(flags={"store": "mysql"}, env={"POSTGRES_URI": url})


def test_the_seeds_number_of_iterations() -> None:
    assert loaded().max_iterations == 10
    assert loaded(env={"AIDER_MAX_ITERATIONS": " 15 "}).max_iterations == 15
    assert loaded(flags={"max_iterations": "3"}, env={"AIDER_MAX_ITERATIONS": "15"}).max_iterations == 3


# --- values ---------------------------------------------------------------------------------------------------------


def test_several_paths() -> None:
    assert loaded(env={"ORCHESTRA_FILES": "a.py 'my file.py' src/"}).files == ("a.py", "my file.py", "src/")
    assert loaded(toml={"files": ["a.py", "my file.py"]}).files == ("a.py", "my file.py")
    assert loaded(toml={"files": "my file.py"}).files == ("my file.py",)
    assert loaded(flags={"files": ["my file.py"]}).files == ("my file.py",)


@pytest.mark.parametrize(("text", "value"), [("1", True), ("TRUE", True), ("on", True), ("0", False), ("No", False)])
def test_yes_and_no(text: str, value: bool) -> None:
    assert loaded(env={"ORCHESTRA_DRY_RUN": text}).dry_run is value
    assert loaded(env={"ORCHESTRA_USE_PRD": text}).use_prd is value


def test_values_of_a_toml_file_have_their_own_types() -> None:
    settings = loaded(toml={"max-agents": 3, "agent-timeout": 5, "gate-timeout": "1.5", "quiet": True, "model": "m"})
    assert (settings.max_agents, settings.agent_timeout, settings.gate_timeout) == (3, 5.0, 1.5)
    assert (settings.quiet, settings.model) == (True, "m")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"flags": {"max_agents": "0"}}, "--max-agents must be at least 1, not 0."),
        ({"flags": {"max_agents": "-3"}}, "--max-agents must be at least 1, not -3."),
        ({"flags": {"max_agents": "x"}}, "--max-agents: 'x' is not a whole number."),
        ({"flags": {"max_agents": "1.5"}}, "--max-agents: '1.5' is not a whole number."),
        ({"flags": {"agents": "0"}}, "--agents must be at least 1, not 0."),
        ({"flags": {"max_iterations": "0"}}, "--max-iterations must be at least 1, not 0."),
        ({"env": {"AIDER_MAX_ITERATIONS": "ten"}}, "AIDER_MAX_ITERATIONS: 'ten' is not a whole number."),
        ({"toml": {"max-agents": 2.5}}, f"max-agents in {TOML}: 2.5 is not a whole number."),
        ({"toml": {"max-agents": True}}, f"max-agents in {TOML}: True is not a whole number."),
        ({"toml": {"max-agents": [1]}}, f"max-agents in {TOML}: [1] is not a whole number."),
        ({"flags": {"agent_timeout": "0"}}, "--agent-timeout must be more than 0 and finite, not 0.0."),
        ({"flags": {"agent_timeout": "inf"}}, "--agent-timeout must be more than 0 and finite, not inf."),
        ({"flags": {"agent_timeout": "nan"}}, "--agent-timeout must be more than 0 and finite, not nan."),
        ({"flags": {"gate_timeout": "soon"}}, "--gate-timeout: 'soon' is not a number."),
        ({"env": {"ORCHESTRA_QUIET": "maybe"}}, "ORCHESTRA_QUIET: 'maybe' is neither true nor false."),
        ({"toml": {"quiet": []}}, f"quiet in {TOML}: [] is neither true nor false."),
        ({"toml": {"model": 5}}, f"model in {TOML}: 5 is not text."),
        ({"toml": {"files": 5}}, f"files in {TOML}: 5 is not text."),
        ({"toml": {"files": ["a", 5]}}, f"files in {TOML}: 5 is not text."),
        ({"toml": {"files": {"a": 1}}}, f"files in {TOML}: {{'a': 1}} is not text."),
        ({"env": {"ORCHESTRA_FILES": "it's"}}, 'ORCHESTRA_FILES: no closing quotation in "it\'s".'),
        ({"flags": {"change": "caf\udce9"}}, "--change: 'caf\\udce9' is not UTF-8."),
        ({"flags": {"files": ["caf\udce9"]}}, "--files: 'caf\\udce9' is not UTF-8."),
        ({"env": {"GEMINI_CLIENT": "grpc"}}, "GEMINI_CLIENT must be rest or sdk, not 'grpc'."),
    ],
)
def test_one_sentence_for_a_wrong_value(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError) as refused:
        loaded(**given)
    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"toml": {"max_agents": 3}}, f"unknown setting 'max_agents' in {TOML}: did you mean 'max-agents'?"),
        ({"toml": {"modle": "x"}}, f"unknown setting 'modle' in {TOML}: did you mean 'model'?"),
        ({"toml": {"zzzz": 1}}, f"unknown setting 'zzzz' in {TOML}: `config show` lists the settings."),
        (
            {"env": {"ORCHESTRA_MAX_AGENT": "3"}},
            "unknown variable ORCHESTRA_MAX_AGENT in the environment: did you mean ORCHESTRA_MAX_AGENTS?",
        ),
        (
            {"repository": {"ORCHESTRA_MODLE": "x"}},
            "unknown variable ORCHESTRA_MODLE in the repository .env: did you mean ORCHESTRA_MODEL?",
        ),
    ],
)
def test_misspelled_setting_gets_a_suggestion(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError) as refused:
        loaded(**given)
    assert str(refused.value) == sentence


def test_the_variables_of_others_are_theirs() -> None:
    assert loaded(env={"ORCHESTRA_DATABASE_URL": "x", "ORCHESTRATOR_MODEL": "y"}).model == ""


# --- settings that exclude each other -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"agents": "2", "max_agents": "3"}, "--agents and --max-agents exclude each other."),
        ({"prd": "x.md", "use_prd": False}, "--prd and --no-prd exclude each other."),
        ({"model": "gpt-6-luna", "claude": True}, "--model and --claude exclude each other."),
    ],
)
def test_rivals_from_one_place(flags: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError) as refused:
        loaded(flags=flags)
    assert str(refused.value) == sentence


def test_the_rival_from_the_stronger_place_counts() -> None:
    settings = loaded(flags={"agents": "8"}, toml={"max-agents": 2})
    assert (settings.agents, settings.max_agents, settings.sources["max_agents"]) == (8, 0, "default")
    settings = loaded(flags={"max_agents": "2"}, env={"ORCHESTRA_AGENTS": "8"})
    assert (settings.agents, settings.max_agents) == (0, 2)
    settings = loaded(flags={"model": "m"}, toml={"claude": True})
    assert (settings.model, settings.claude) == ("m", False)
    settings = loaded(flags={"claude": True}, env={"DEFAULT_AIDER_MODEL": "gpt-4o"})
    assert (settings.model, settings.claude) == ("", True)
    settings = loaded(flags={"use_prd": False}, toml={"prd": "x.md"})
    assert (settings.prd, settings.use_prd) == ("", False)
    settings = loaded(flags={"prd": "x.md"}, toml={"use-prd": False})
    assert (settings.prd, settings.use_prd) == ("x.md", True)


# --- keys and addresses ---------------------------------------------------------------------------------------------

GOOGLE = catalogue.PROVIDERS["gemini"]
OPENAI = catalogue.PROVIDERS["openai"]
BASE = "http://elsewhere/v1"


def openai_base(settings: Settings) -> str:
    return settings.base_url(OPENAI.base_vars, settings.strongest_variable(OPENAI.key_vars)[1])


@pytest.mark.parametrize(
    ("given", "counts"),
    [
        ({"repository": {"OPENAI_API_BASE": BASE, "OPENAI_API_KEY": "k"}}, True),
        ({"repository": {"OPENAI_API_BASE": BASE}, "env": {"OPENAI_API_KEY": "k"}}, False),
        ({"repository": {"OPENAI_API_BASE": BASE}, "script": {"OPENAI_API_KEY": "k"}}, False),
        ({"repository": {"OPENAI_API_BASE": BASE, "OPENAI_API_KEY": "k"}, "env": {"OPENAI_API_KEY": "e"}}, False),
        ({"repository": {"OPENAI_API_BASE": BASE}}, True),  # no key, so none can be lured away
        ({"env": {"OPENAI_API_BASE": BASE}, "repository": {"OPENAI_API_KEY": "k"}}, True),
        ({"script": {"OPENAI_API_BASE": BASE}, "env": {"OPENAI_API_KEY": "k"}}, True),
        ({"env": {"OPENAI_BASE_URL": BASE}, "repository": {"OPENAI_API_BASE": "http://hostile"}}, True),
    ],
)
def test_a_base_url_of_the_repository_gets_no_key_from_elsewhere(given: dict[str, Any], counts: bool) -> None:
    assert openai_base(loaded(**given)) == (BASE if counts else "")


@pytest.mark.parametrize("given", [{"flags": {"api_key": "real"}}, {"env": {"ORCHESTRA_API_KEY": "real"}}])
def test_nor_the_google_key_from_the_flag(given: dict[str, Any]) -> None:
    settings = loaded(**given, repository={"GEMINI_API_BASE": "http://hostile", "GOOGLE_API_KEY": "bait"})
    key, source = settings.strongest_variable(GOOGLE.key_vars)
    assert key == settings.api_key == "real"
    assert settings.base_url(GOOGLE.base_vars, source) == ""


def test_the_google_key_and_its_base_from_one_file() -> None:
    settings = loaded(repository={"GEMINI_API_BASE": "http://mine/", "ORCHESTRA_API_KEY": "key"})
    assert settings.base_url(GOOGLE.base_vars, settings.strongest_variable(GOOGLE.key_vars)[1]) == "http://mine"


def test_the_google_variables_are_the_catalogues() -> None:
    by_name = {f.name: f for f in option_fields()}
    assert by_name["api_key"].metadata["env"] == GOOGLE.key_vars


def test_a_key_that_does_not_count_is_still_known() -> None:
    """It must not be seen in a log or in a copied file either."""
    settings = loaded(
        flags={"api_key": "key-flag"},
        env={"OPENAI_API_KEY": "key-one", "GOOGLE_API_KEY": "key-env"},
        repository={"OPENAI_API_KEY": "key-two"},
    )
    assert {"key-flag", "key-one", "key-env", "key-two"} <= {value for value, _ in settings.variables.values()}
    assert settings.strongest_variable(["OPENAI_API_KEY"]) == ("key-one", "environment")


def test_spaces_around_a_key_are_no_part_of_it() -> None:
    assert loaded(env={"OPENAI_API_KEY": " sk-1 \n"}).strongest_variable(OPENAI.key_vars)[0] == "sk-1"


@pytest.mark.parametrize(
    ("name", "value", "safe"),
    [
        ("OPENAI_API_KEY", "sk-1234567890", "…90"),
        ("api_key", "123456789", "…89"),
        ("api_key", "12345678", "…"),
        ("api_key", "1", "…"),
        ("api_key", "", ""),
        ("MY_SECRET", "abcdefghijk", "…jk"),
        ("model", "gpt-6", "gpt-6"),
        ("repo", "https://me:token@host/x.git", "https://…@host/x.git"),
        ("OPENAI_API_BASE", "http://host:1/v1", "http://host:1/v1"),
    ],
)
def test_masked(name: str, value: str, safe: str) -> None:
    assert mask_value(name, value) == safe


# --- what an option must say ----------------------------------------------------------------------------------------


def test_option_states_whether_it_is_recorded() -> None:
    """There is no default that would decide it silently."""
    parameters = inspect.signature(define_option).parameters
    for name in ("power", "group", "recorded"):
        assert parameters[name].default is inspect.Parameter.empty


def test_recorded_option_runs_writes_and_sends_nothing() -> None:
    """A tape may come from anybody."""
    powers = {f.metadata["power"] for f in option_fields() if f.metadata["recorded"]}
    assert powers <= {Power.HARMLESS, Power.READS, Power.SPENDS, Power.CHOOSES_MODEL}


def test_conflicts_name_other_options() -> None:
    names = [f.name for f in option_fields()]
    assert all(one in names and other in names and one != other for one, other in CONFLICTING_OPTIONS)
    assert len({frozenset(pair) for pair in CONFLICTING_OPTIONS}) == len(CONFLICTING_OPTIONS)


@pytest.mark.parametrize("name", [f.name for f in option_fields() if f.metadata["choices"]])
def test_choice_is_taken_and_anything_else_refused(name: str) -> None:
    choices = next(f.metadata["choices"] for f in option_fields() if f.name == name)
    for choice in choices:
        assert getattr(loaded(flags={name: choice}), name) == choice
    with pytest.raises(SettingsError, match=f"must be .*{choices[-1]}, not 'something'"):
        loaded(flags={name: "something"})


# --- what a tape restores -------------------------------------------------------------------------------------------

UNUSUAL = {"gate": ("name=cmd",), "price": ("1,2",), "notify": "https://host/hook", "events": "-"}


def unusual(f: Field[Any]) -> Any:
    """A value that is allowed and not the default."""
    if f.metadata["choices"]:
        return next(choice for choice in f.metadata["choices"] if choice != f.default)
    by_type = {bool: not f.default, int: 3, float: 3.5, str: "x", tuple: ("x",)}
    return UNUSUAL.get(f.name, by_type[type(f.default)])


def test_replay_restores_recorded_options_and_no_others() -> None:
    told = {f.name: unusual(f) for f in option_fields()}
    restored = restore_recorded_settings(Settings(), Recording("a.tape", {"options": told}))
    changed = {f.name for f in option_fields() if getattr(restored, f.name) == told[f.name]}
    assert changed == {f.name for f in option_fields() if f.metadata["recorded"]}
    assert {"together", "decompose", "agents_per_task", "retries"} <= changed


def test_replay_refuses_a_value_that_the_option_does_not_allow() -> None:
    with pytest.raises(SettingsError, match="--agents-per-task must be at most 16, not 1000"):
        restore_recorded_settings(Settings(), Recording("a.tape", {"options": {"agents_per_task": 1000}}))


def test_run_of_a_version_without_house_rules_goes_on_without_them() -> None:
    """Its requests would be other ones, and the replies that were paid for would not be found."""
    old, new = {"change": "x"}, {"change": "x", "conventions": True}
    assert loaded().conventions and not loaded().for_resume(old).conventions
    assert loaded().for_resume(new).conventions and not loaded(flags={"conventions": False}).for_resume(new).conventions
