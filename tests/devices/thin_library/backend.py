"""The thin library as bp_arrays knows it: all that its author writes."""

from bp_arrays.devices import Backend


class ThinBackend(Backend):
    name = "thin"
    module = "thin_library"
