"""Plan like a lead: a model makes a graph of tasks, it is checked against the repository, and becomes the run's plan."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from orchestra import catalogue
from orchestra import prd as prd_format
from orchestra.conduct import drafts
from orchestra.conduct.asking import ask_as
from orchestra.conduct.dividing import Division, surroundings
from orchestra.conduct.planning import repository_digest
from orchestra.conduct.run import Run, count_machine
from orchestra.conduct.survey import survey
from orchestra.errors import NeedsApproval, PlanError
from orchestra.model import Plan, Prd, Task
from orchestra.plan import planner
from orchestra.plan.brief import brief
from orchestra.plan.check import Checked, World, check, targets
from orchestra.plan.coupling import Coupling
from orchestra.plan.draft import PRIORITIES, Draft, Item, phases
from orchestra.plan.file import write
from orchestra.plan.nearby import links
from orchestra.plan.roles import known
from orchestra.plan.sizing import Machine, bound
from orchestra.plan.split import Split
from orchestra.plan.targets import Tracked
from orchestra.settings import Settings
from orchestra.workspace.evidence import evidence
from orchestra.workspace.repository import Entry, Repository, present

ANSWER_TOKENS = 32_000
STRONG = 3  # links that are said
