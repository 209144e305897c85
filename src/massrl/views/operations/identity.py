"""No change, which published policies draw as one of their operations."""

from massrl.views.operations.base import Operation

identity = Operation(kind="none", label="identity")
