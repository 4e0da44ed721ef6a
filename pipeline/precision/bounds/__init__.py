"""Where the values of every tensor lie for any input that the spec admits: interval arithmetic over the graph.

Constants are taken as they are, masks and declared inputs as the spec says, everything else as unbounded; sums take the
largest sizes of the dynamic axes. A normalisation bounds whatever it reads, a Softmax likewise, and from there on
weights tell how large a tensor can become. See `bound` for what is tracked.

What is claimed holds for the fp32 graph and for its mixed forms: every result is widened by one rounding to the low
format. It is arithmetic on finite numbers: an operand that is already NaN or infinite proves nothing, and products are
taken to be summed in fp32.
"""

from pipeline.precision.bounds.bound import ANYTHING, Bound
from pipeline.precision.bounds.given import Given
from pipeline.precision.bounds.walk import of_graph

__all__ = ["ANYTHING", "Bound", "Given", "of_graph"]
