"""A demo Protime tenant: in memory, served over HTTP on loopback.

The tenant follows the documentation; `Behaviour` has a switch for each case that it leaves open.

    tenant = DemoTenant(rows=5000)
    with DemoServer(tenant) as server:
        os.environ.update(server.environment())
        ...
        tenant.churn(100)
        tenant.clock.advance(hours=73)

In a terminal: `protime demo serve`.
"""

from protime_source.demo.behaviour import Behaviour, Clock
from protime_source.demo.data import assignments
from protime_source.demo.faults import Fault
from protime_source.demo.messages import RecordedRequest
from protime_source.demo.server import DemoServer
from protime_source.demo.tenant import DemoTenant

__all__ = [
    "Behaviour",
    "Clock",
    "DemoServer",
    "DemoTenant",
    "Fault",
    "RecordedRequest",
    "assignments",
]
