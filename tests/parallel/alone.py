"""One rank with a process group and a mesh of its own: every axis's code on one device."""

from contextlib import contextmanager
from tempfile import TemporaryDirectory

import torch

from pretrain.model.init import build
from pretrain.parallel import context, expert, pieces, tensor
from pretrain.parallel.layout import Layout
from pretrain.parallel.mesh import Mesh
from pretrain.parallel.shard import shard

AXES = ("shard", "tensor", "context", "expert")


@contextmanager
def connected(backend):
    """A group of this process alone."""
    import torch.distributed as dist

    with TemporaryDirectory() as folder:
        dist.init_process_group(backend, init_method=f"file://{folder}/store", rank=0, world_size=1)
        try:
            yield
        finally:
            dist.destroy_process_group()


def mesh_on(device, axis):
    """The mesh of one rank that is connected, its axes all of length one."""
    from torch.distributed.device_mesh import init_device_mesh

    layout = Layout()
    sizes = layout.sizes(1)
    devices = init_device_mesh(device.type, (1,) * 5, mesh_dim_names=tuple(sizes))
    names = ("pipeline", "replicate", "rest", "expert", "context", "tensor")
    experts = init_device_mesh(device.type, (1,) * 6, mesh_dim_names=names)
    return Mesh(layout, sizes, devices, 0, experts if axis == "expert" else None)


def divided(shape, seed, device, mesh, axis, prepare=lambda model: None, products=torch.float32):
    """A model on whose one rank an axis was applied; `prepare` comes before shards do."""

    def divide(model):
        if axis in ("tensor", "context", "expert"):
            {"tensor": tensor, "context": context, "expert": expert}[axis].divide(model, mesh)
        prepare(model)
        if axis == "shard":
            shard(model, mesh, products)

    return build(shape, seed, device, divide, pieces.put)
