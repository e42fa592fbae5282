"""A stand-in for the camera maker's module PySpin, with simulated Blackfly S cameras on its bus.

`make_pyspin(Blackfly("12345678"))` gives an object with the names of the module. It keeps to what is known of the
SDK: which node may be written in which state, values per selector, strict types, enumeration entries and their
numbers, error codes, images that alias the driver's buffers, a pool that a leaked image starves, references that
keep the camera from being released (-1004), triggers dropped without a word, events on a foreign thread.

What it does not model
- Time: an image is there as soon as its exposure begins; nothing waits, and a call for an image that is not there
  times out at once (`Blackfly.idle` is called instead of waiting). Transfer, latency and throughput do not exist.
- The sensor: pixels are whatever `Blackfly.scene` gives; exposure, gain, gamma, white balance, binning and test
  patterns do not change them. Values that a running automatic function would change stand still.
- Electrical things: line filters and inverters do not act on edges, outputs drive nothing, strobe counters do not
  run. Counters count edges of lines and nothing else.
- The sequencer, logic blocks, serial port, files, GigE, several interfaces, and image events.
- What the SDK does when it is used in two threads at once, over a fork, or after a crash.

Behaviour that no document at hand states (what `IsValid` says after an unplug, how the counter ends, what the
driver's methods raise in odd states) is a guess made switchable where the driver must stand both. That the driver
works with this double proves nothing about a camera.
"""

from .blackfly import Blackfly
from .errors import SpinnakerException
from .module import make_pyspin

__all__ = ["Blackfly", "SpinnakerException", "make_pyspin"]
