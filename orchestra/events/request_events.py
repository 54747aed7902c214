"""Events of the requests that pass the gateway."""

from orchestra.events.base import Payload
from orchestra.model import Usage

PERSON = "you"  # on whom an agent waits that asks at the terminal


class MoneyReserved(Payload, kind="set_aside", kw_only=True, needs=("role", "number", "dollars", "tokens")):
    """Money and tokens were reserved for a request that is about to be sent, by its number."""

    role: str
    number: int
    dollars: float
    tokens: int


class AgentWaiting(Payload, kind="waiting", needs=("on",)):
    """An agent waits for a provider, another agent, or `you` at the terminal, and why. Empty `on`: the wait is over."""

    role: str
    on: str
    why: str


class RequestEnded(Payload, kind="request", kw_only=True, needs=("role", "failure", "usage")):
    """A request to a model ended, with a reply or a failure. Written before the client gets the answer.

    `identity` is a digest of the question, `digest` one of the reply as it came: a reply that a secret was taken out of
    has another digest. `recalled`: answered from an earlier session of the run, or from an attempt whose host
    was lost; `replayed`: from a recording.
    """

    role: str
    provider: str
    model: str
    status: int
    failure: str
    message: str
    usage: Usage
    seconds: float
    identity: str
    replayed: bool
    recalled: bool
    number: int
    drifted: bool
    remark: str
    type: str
    body: str
    digest: str


class AssistantResponse(Payload, kind="assistant_response", of_task=True):
    """An agent got a reply from its model: one iteration."""

    content: str
    finish: str


class Conversation(Payload, kind="conversation", of_task=True, needs=("packed",)):
    """The conversation of an attempt, when its agent has ended. `cut`: long texts lost their middle.

    `packed`: for each request its new messages as [role, text], and the reply; JSON in zlib and base64.
    """

    turns: int
    cut: bool
    packed: str
