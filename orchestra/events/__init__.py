"""The events of a run: a frozen dataclass per kind, and their JSON."""

from orchestra.events.base import *
from orchestra.events.codec import *
from orchestra.events.gate_events import *
from orchestra.events.request_events import *
from orchestra.events.result_events import *
from orchestra.events.run_events import *
from orchestra.events.task_events import *
