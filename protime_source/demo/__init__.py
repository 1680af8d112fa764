"""A small Protime to try everything with: a tenant in memory, over real HTTP on loopback.

It does what the documentation says; where that says nothing, `Behaviour` has a switch.

    tenant = DemoTenant(rows=5000)
    with DemoServer(tenant) as server:
        os.environ.update(server.environment())
        ...
        tenant.churn(100)
        tenant.clock.advance(hours=73)

In a terminal: `python -m protime_source.demo`.
"""

from protime_source.demo.behaviour import Behaviour, Fault
from protime_source.demo.clock import Clock
from protime_source.demo.data import assignments
from protime_source.demo.messages import Request
from protime_source.demo.server import DemoServer
from protime_source.demo.tenant import DemoTenant

__all__ = [
    "Behaviour",
    "Clock",
    "DemoServer",
    "DemoTenant",
    "Fault",
    "Request",
    "assignments",
]
