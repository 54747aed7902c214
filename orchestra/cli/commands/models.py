"""`models`: the catalogue."""

from argparse import Namespace
from datetime import date

from orchestra.cli.parser import CommandParser
from orchestra.providers import catalogue


def add_models_arguments(parser: CommandParser) -> None:
    parser.add_argument("text", metavar="TEXT", nargs="?", default="", help="only models whose name has this text")


def cmd_models(arguments: Namespace) -> int:
    """List the models of the catalogue: prices in dollars per million tokens, context, retirement. Other models of the
    same providers work as PROVIDER/NAME; any OpenAI-compatible server as openai/NAME with OPENAI_API_BASE."""
    rows = [model for model in catalogue.list_models() if arguments.text.lower() in model.name.lower()]
    width = max((len(model.name) for model in rows), default=5)
    print(f"{'model':<{width}}  {'$/M in':>8}  {'$/M out':>8}  {'context':>9}  remarks")
    for model in rows:
        prices = f"{price_per_million(model.price_in):>8}  {price_per_million(model.price_out):>8}"
        print(f"{model.name:<{width}}  {prices}  {model.context or '?':>9}  {catalogue_remark(model)}".rstrip())
    return 0


def price_per_million(price: float | None) -> str:
    return "?" if price is None else f"{price * 1e6:.2f}"


def catalogue_remark(model: catalogue.Model) -> str:
    defaults = {
        catalogue.DEFAULT_MODEL: "default",
        catalogue.DEFAULT_CLAUDE_MODEL: "default with --claude",
        f"gemini/{catalogue.DEFAULT_GEMINI_MODEL}": "default for the PRD",
    }
    notice = catalogue.retirement_notice(model, date.today())
    parts = (defaults.get(model.name, ""), notice.sentence.split(" ", 1)[1] if notice else "")
    return "; ".join(filter(None, parts))
