"""The built-in ops and their signatures. Written by `python -m graphexec.ir.stubs`: do not edit it."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from numpy.typing import ArrayLike, DTypeLike

from graphexec.ir.operators import Arithmetic

Operand: TypeAlias = Arithmetic | ArrayLike | None  # None omits an optional operand

class BuiltinOps:
    def abs(self, x: Operand, *, name: str | None = None) -> Any:
        """Absolute value, element by element."""

    def accumulate(self, total: Operand, x: Operand, *, weight: float = 1.0, name: str | None = None) -> Any:
        """Adds a weighted number to a running total, in place; training sums the losses and metrics of an epoch with it."""

    def accumulate_finite(self, total: Operand, x: Operand, *, weight: float = 1.0, name: str | None = None) -> Any:
        """Adds a weighted number to a running total, in place, unless the number is NaN or infinite; training adds up losses w"""

    def accuracy(self, scores: Operand, labels: Operand, *, name: str | None = None) -> Any:
        """Fraction of correctly classified rows."""

    def adam(
        self,
        p: Operand,
        d: Operand,
        m: Operand,
        v: Operand,
        step: Operand,
        *,
        lr: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-08,
        weight_decay: float = 0.0,
        name: str | None = None,
    ) -> tuple[Any, Any, Any]:
        """One step of Adam, in place."""

    def adamw(
        self,
        p: Operand,
        d: Operand,
        m: Operand,
        v: Operand,
        step: Operand,
        *,
        lr: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-08,
        weight_decay: float = 0.01,
        name: str | None = None,
    ) -> tuple[Any, Any, Any]:
        """One step of AdamW, in place: Adam with weight decay decoupled from the gradient."""

    def add(self, x: Operand, y: Operand, *, name: str | None = None) -> Any:
        """Addition of broadcast operands."""

    def add_n(self, *terms: Operand, name: str | None = None) -> Any:
        """Sum of any number of operands, from left to right, such as the deltas of a value with several readers."""

    def advance(self, cursor: Operand, *, by: int = 1, name: str | None = None) -> Any:
        """Advances a cursor by a number of rows, in place."""

    def argmax(self, x: Operand, *, axis: int | Sequence[int] | None = -1, keepdims: bool = False, name: str | None = None) -> Any:
        """Index of the largest element along an axis."""

    def argmax_along(self, x: Operand, *, axis: int = -1, keepdims: bool = False, name: str | None = None) -> Any:
        """Index of the largest element along an axis: implements argmax."""

    def average_pool(
        self,
        x: Operand,
        *,
        kernel: int | Sequence[int],
        strides: int | Sequence[int] | None = None,
        padding: int | Sequence[int] | Literal['valid', 'same'] = 0,
        dilations: int | Sequence[int] = 1,
        count_include_pad: bool = True,
        name: str | None = None,
    ) -> Any:
        """The mean of each window: average pooling over one to three spatial axes."""

    def binary_cross_entropy_with_logits(
        self,
        z: Operand,
        y: Operand,
        *,
        reduction: Literal['sum', 'mean', 'none'] = 'mean',
        name: str | None = None,
    ) -> Any:
        """Binary cross-entropy of the sigmoid with targets, by default its mean over the rows."""

    def bitwise_and(self, x: Operand, y: Operand, *, name: str | None = None) -> Any:
        """Both bits, bit by bit of each element."""

    def bitwise_not(self, x: Operand, *, name: str | None = None) -> Any:
        """Every bit of each element inverted."""

    def bitwise_or(self, x: Operand, y: Operand, *, name: str | None = None) -> Any:
        """Either bit, bit by bit of each element."""

    def bitwise_xor(self, x: Operand, y: Operand, *, name: str | None = None) -> Any:
        """One bit of two, not both, bit by bit of each element."""

    def broadcast_like(self, x: Operand, like: Operand, *, name: str | None = None) -> Any:
        """Broadcasts a value to the shape of another: the gradient of sum_to."""

    def broadcast_to(self, x: Operand, *, shape: int | str | Sequence[int | str], name: str | None = None) -> Any:
        """Broadcasts a value: repeats it along new leading axes and along axes of size 1."""

    def cast(self, x: Operand, *, dtype: DTypeLike, name: str | None = None) -> Any:
        """Conversion to another element type."""

    def ceil(self, x: Operand, *, name: str | None = None) -> Any:
        """Smallest whole number not below x, element by element."""

    def class_labels(self, labels: Operand, classes: Operand, *, name: str | None = None) -> Any:
        """Checks that labels are valid classes."""

    def clip(self, x: Operand, *, low: float = ..., high: float = ..., name: str | None = None) -> Any:
        """Limits values to a range, element by element."""

    def concat(self, *parts: Operand, axis: int = 0, name: str | None = None) -> Any:
        """Joins values along an axis."""

    def control_dependency(self, x: Operand, token: Operand, *, name: str | None = None) -> Any:
        """Returns a value unchanged, but only after another one is computed."""

    def conv(
        self,
        x: Operand,
        w: Operand,
        b: Operand = None,
        *,
        strides: int | Sequence[int] = 1,
        padding: int | Sequence[int] | Literal['valid', 'same'] = 0,
        dilations: int | Sequence[int] = 1,
        groups: int = 1,
        name: str | None = None,
    ) -> Any:
        """Convolution (a cross-correlation, as usual in networks) over one to three spatial axes."""

    def copy(self, x: Operand, *, name: str | None = None) -> Any:
        """Copies values to new contiguous memory, for any strides of x."""

    def correlate(
        self,
        x: Operand,
        w: Operand,
        b: Operand,
        *,
        strides: Sequence[int] = (1, 1, 1),
        padding: Sequence[int] = (0, 0, 0, 0, 0, 0),
        dilations: Sequence[int] = (1, 1, 1),
        groups: int = 1,
        name: str | None = None,
    ) -> Any:
        """Cross-correlation on three spatial axes, which implements conv."""

    def correlate_input(
        self,
        d: Operand,
        w: Operand,
        like: Operand,
        *,
        strides: Sequence[int] = (1, 1, 1),
        padding: Sequence[int] = (0, 0, 0, 0, 0, 0),
        dilations: Sequence[int] = (1, 1, 1),
        groups: int = 1,
        name: str | None = None,
    ) -> Any:
        """Transposed convolution: the gradient of correlate by its input."""

    def correlate_weights(
        self,
        d: Operand,
        x: Operand,
        like: Operand,
        *,
        strides: Sequence[int] = (1, 1, 1),
        padding: Sequence[int] = (0, 0, 0, 0, 0, 0),
        dilations: Sequence[int] = (1, 1, 1),
        groups: int = 1,
        name: str | None = None,
    ) -> Any:
        """Gradient of correlate by its weights."""

    def cos(self, x: Operand, *, name: str | None = None) -> Any:
        """Cosine, element by element."""

    def divide(self, x: Operand, y: Operand, *, name: str | None = None) -> Any:
        """Quotient of broadcast operands."""

    def elu(self, x: Operand, *, alpha: float = 1.0, name: str | None = None) -> Any:
        """Exponential linear unit, element by element   (Clevert et al., 2016)."""

    def equal(self, x: Operand, y: Operand, *, name: str | None = None) -> Any:
        """Whether operands are equal, element by element."""

    def erf(self, x: Operand, *, name: str | None = None) -> Any:
        """Error function, element by element."""

    def exclusive_scan(
        self,
        a: Operand,
        b: Operand,
        *,
        axis: int = -1,
        initial: float = 0.0,
        reverse: bool = False,
        name: str | None = None,
    ) -> Any:
        """Linear recurrence along an axis, in which each element of out precedes the operands with its index."""

    def exp(self, x: Operand, *, name: str | None = None) -> Any:
        """Exponential, element by element."""

    def expand_dims(self, x: Operand, *, axis: int | Sequence[int], name: str | None = None) -> Any:
        """Inserts axes of size 1."""

    def expand_like(
        self,
        d: Operand,
        like: Operand,
        *,
        axis: int | Sequence[int] | None = None,
        keepdims: bool = False,
        name: str | None = None,
    ) -> Any:
        """Expands a reduced value to the shape before the reduction: the gradient of a sum."""

    def expm1(self, x: Operand, *, name: str | None = None) -> Any:
        """e**x - 1, accurate near 0, element by element."""

    def flatten(self, x: Operand, *, axis: int = 1, name: str | None = None) -> Any:
        """Flattens a value to a matrix: the axes before `axis` by the axes from `axis` on."""

    def floor(self, x: Operand, *, name: str | None = None) -> Any:
        """Largest whole number not above x, element by element."""

    def floor_divide(self, x: Operand, y: Operand, *, name: str | None = None) -> Any:
        """Quotient rounded down, element by element."""

    def gather(self, x: Operand, indices: Operand, *, axis: int = 0, name: str | None = None) -> Any:
        """Takes elements along an axis by their indices, as an embedding lookup does."""

    def gather_windows(
        self,
        x: Operand,
        index: Operand,
        *,
        size: Sequence[int] = (1, 1, 1),
        strides: Sequence[int] = (1, 1, 1),
        padding: Sequence[int] = (0, 0, 0, 0, 0, 0),
        dilations: Sequence[int] = (1, 1, 1),
        name: str | None = None,
    ) -> Any:
        """One element of each window: the gradient of scatter_windows."""

    def gelu(self, x: Operand, *, approximate: Literal['none', 'tanh'] = 'none', name: str | None = None) -> Any:
        """Gaussian error linear unit, element by element   (Hendrycks and Gimpel, 2016)."""

    def greater(self, x: Operand, y: Operand, *, name: str | None = None) -> Any:
        """Whether x is greater than y, element by element."""

    def greater_equal(self, x: Operand, y: Operand, *, name: str | None = None) -> Any:
        """Whether x is greater than or equal to y, element by element."""

    def half_squared_error(
        self,
        z: Operand,
        y: Operand,
        *,
        reduction: Literal['sum', 'mean', 'none'] = 'sum',
        name: str | None = None,
    ) -> Any:
        """Half the squared error, the loss of the derivation: L = ½ Σ c², c = z - y."""

    def head_like(self, x: Operand, like: Operand, *, axis: int = 0, name: str | None = None) -> Any:
        """Takes the first elements along an axis, as many as another value has there; undoes a concat, together with tail_like"""

    def increment(self, step: Operand, *, name: str | None = None) -> Any:
        """Adds one to a step counter, in place."""

    def leaky_relu(self, x: Operand, *, alpha: float = 0.01, name: str | None = None) -> Any:
        """Leaky rectified linear unit, element by element   (Maas et al., 2013)."""

    def left_shift(self, x: Operand, y: Operand, *, name: str | None = None) -> Any:
        """Bits moved to the left, element by element."""

    def less(self, x: Operand, y: Operand, *, name: str | None = None) -> Any:
        """Whether x is less than y, element by element."""

    def less_equal(self, x: Operand, y: Operand, *, name: str | None = None) -> Any:
        """Whether x is less than or equal to y, element by element."""

    def linear(self, x: Operand, w: Operand, b: Operand = None, *, name: str | None = None) -> Any:
        """Linear layer: z = w x + b for each row of x."""

    def log(self, x: Operand, *, name: str | None = None) -> Any:
        """Natural logarithm, element by element."""

    def log1p(self, x: Operand, *, name: str | None = None) -> Any:
        """log(1 + x), accurate near 0, element by element."""

    def log_softmax(self, x: Operand, *, axis: int | Sequence[int] | None = -1, name: str | None = None) -> Any:
        """Logarithm of the softmax along an axis."""

    def logical_and(self, x: Operand, y: Operand, *, name: str | None = None) -> Any:
        """Whether both operands are true, element by element."""

    def logical_not(self, x: Operand, *, name: str | None = None) -> Any:
        """Whether the operand is false, element by element."""

    def logical_or(self, x: Operand, y: Operand, *, name: str | None = None) -> Any:
        """Whether at least one operand is true, element by element."""

    def logistic_loss(self, z: Operand, y: Operand, *, name: str | None = None) -> Any:
        """Binary cross-entropy of the sigmoid of each element with a target, not reduced."""

    def logistic_terms(self, z: Operand, y: Operand, *, name: str | None = None) -> Any:
        """The formula of binary cross-entropy of the sigmoid, for each element; `logistic_loss` also checks the targets."""

    def logsumexp(
        self,
        x: Operand,
        *,
        axis: int | Sequence[int] | None = None,
        keepdims: bool = False,
        name: str | None = None,
    ) -> Any:
        """log Σ eˣ along axes, without overflow."""

    def matmul(self, a: Operand, b: Operand, *, name: str | None = None) -> Any:
        """Matrix product of the last two axes, batched over the leading ones."""

    def matmul_add(self, acc: Operand, a: Operand, b: Operand, *, name: str | None = None) -> Any:
        """Matrix product added to a value in place, for sums of products."""

    def max(self, x: Operand, *, axis: int | Sequence[int] | None = None, keepdims: bool = False, name: str | None = None) -> Any:
        """Largest element along axes."""

    def max_pool(
        self,
        x: Operand,
        *,
        kernel: int | Sequence[int],
        strides: int | Sequence[int] | None = None,
        padding: int | Sequence[int] | Literal['valid', 'same'] = 0,
        dilations: int | Sequence[int] = 1,
        name: str | None = None,
    ) -> Any:
        """The largest element of each window: max pooling over one to three spatial axes."""

    def max_windows(
        self,
        x: Operand,
        *,
        size: Sequence[int] = (1, 1, 1),
        strides: Sequence[int] = (1, 1, 1),
        padding: Sequence[int] = (0, 0, 0, 0, 0, 0),
        dilations: Sequence[int] = (1, 1, 1),
        name: str | None = None,
    ) -> tuple[Any, Any]:
        """Largest element of each window and its index, which implements max_pool."""

    def maximum(self, x: Operand, y: Operand, *, name: str | None = None) -> Any:
        """The larger of two broadcast operands, element by element."""

    def mean(self, x: Operand, *, axis: int | Sequence[int] | None = None, keepdims: bool = False, name: str | None = None) -> Any:
        """Mean along axes."""

    def min(self, x: Operand, *, axis: int | Sequence[int] | None = None, keepdims: bool = False, name: str | None = None) -> Any:
        """Smallest element along axes."""

    def minimum(self, x: Operand, y: Operand, *, name: str | None = None) -> Any:
        """The smaller of two broadcast operands, element by element."""

    def momentum(
        self,
        p: Operand,
        d: Operand,
        v: Operand,
        *,
        lr: float = 0.01,
        momentum: float = 0.9,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        name: str | None = None,
    ) -> tuple[Any, Any]:
        """One step of gradient descent with momentum, in place."""

    def mse(self, z: Operand, y: Operand, *, reduction: Literal['sum', 'mean', 'none'] = 'mean', name: str | None = None) -> Any:
        """Squared error, by default its mean over the rows."""

    def multiply(self, x: Operand, y: Operand, *, name: str | None = None) -> Any:
        """Product of broadcast operands, element by element."""

    def negate(self, x: Operand, *, name: str | None = None) -> Any:
        """Negation, element by element."""

    def no_bias(self, weights: Operand, *, name: str | None = None) -> Any:
        """A bias of 0 for each output channel of correlate."""

    def not_equal(self, x: Operand, y: Operand, *, name: str | None = None) -> Any:
        """Whether operands differ, element by element."""

    def one_hot(self, indices: Operand, *, depth: int, dtype: DTypeLike = 'float32', name: str | None = None) -> Any:
        """Encodes classes as rows with a single 1."""

    def pad(self, x: Operand, *, padding: Sequence[int], value: float = 0.0, name: str | None = None) -> Any:
        """Pads a value with a constant."""

    def positions(self, x: Operand, *, axis: int = -1, count: int | None = None, name: str | None = None) -> Any:
        """Indices along an axis: 0, 1, 2, ..."""

    def power(self, x: Operand, y: Operand, *, name: str | None = None) -> Any:
        """Power of broadcast operands."""

    def prod(self, x: Operand, *, axis: int | Sequence[int] | None = None, keepdims: bool = False, name: str | None = None) -> Any:
        """Product along axes."""

    def reciprocal(self, x: Operand, *, name: str | None = None) -> Any:
        """Reciprocal, element by element."""

    def reduce_loss(self, x: Operand, *, reduction: Literal['sum', 'mean', 'none'] = 'mean', name: str | None = None) -> Any:
        """Reduces the terms of a loss to their sum or their mean over the rows."""

    def relu(self, x: Operand, *, name: str | None = None) -> Any:
        """Rectified linear unit, element by element."""

    def remainder(self, x: Operand, y: Operand, *, name: str | None = None) -> Any:
        """Remainder of the quotient rounded down, element by element."""

    def reshape(self, x: Operand, *, shape: int | str | Sequence[int | str], name: str | None = None) -> Any:
        """Reshapes a value to other sizes, in row-major order."""

    def reshape_like(self, x: Operand, like: Operand, *, name: str | None = None) -> Any:
        """Reshapes a value to the shape of another, in row-major order: the gradient of a reshape."""

    def right_shift(self, x: Operand, y: Operand, *, name: str | None = None) -> Any:
        """Bits moved to the right, element by element; the sign fills in."""

    def round(self, x: Operand, *, name: str | None = None) -> Any:
        """The whole number nearest to x, element by element; of two that are equally near, the even one."""

    def scatter_add(self, d: Operand, indices: Operand, like: Operand, *, axis: int = 0, name: str | None = None) -> Any:
        """Zeros with slices added at indices along an axis: the gradient of gather."""

    def scatter_sums(
        self,
        d: Operand,
        indices: Operand,
        like: Operand,
        *,
        axis: int = 0,
        name: str | None = None,
    ) -> tuple[Any, Any, Any]:
        """Zeros with slices added at indices along an axis, in compensated sums: what scatter_add consists of."""

    def scatter_windows(
        self,
        d: Operand,
        index: Operand,
        like: Operand,
        *,
        size: Sequence[int] = (1, 1, 1),
        strides: Sequence[int] = (1, 1, 1),
        padding: Sequence[int] = (0, 0, 0, 0, 0, 0),
        dilations: Sequence[int] = (1, 1, 1),
        name: str | None = None,
    ) -> Any:
        """Zeros with a value added at one place of each window: the gradient of max_windows."""

    def sgd(self, p: Operand, d: Operand, *, lr: float = 0.01, weight_decay: float = 0.0, name: str | None = None) -> Any:
        """One step of gradient descent, in place."""

    def shuffle(self, order: Operand, key: Operand, *, name: str | None = None) -> Any:
        """Random permutation of rows, computed from a key, in place; training shuffles each epoch with it."""

    def sigmoid(self, x: Operand, *, name: str | None = None) -> Any:
        """Logistic function, element by element."""

    def sign(self, x: Operand, *, name: str | None = None) -> Any:
        """Sign, element by element: -1, 0 or 1."""

    def sin(self, x: Operand, *, name: str | None = None) -> Any:
        """Sine, element by element."""

    def size(self, x: Operand, *, axis: int | Sequence[int] | None = None, name: str | None = None) -> Any:
        """Number of elements along axes, as a graph value."""

    def slice(
        self,
        x: Operand,
        *,
        starts: int | Sequence[int | None] | None,
        ends: int | Sequence[int | None] | None,
        axes: int | Sequence[int] | None = None,
        steps: int | Sequence[int | None] | None = None,
        name: str | None = None,
    ) -> Any:
        """Takes a part of a value: from starts to ends by steps, along axes."""

    def softmax(self, x: Operand, *, axis: int | Sequence[int] | None = -1, name: str | None = None) -> Any:
        """Softmax along an axis."""

    def softmax_cross_entropy(
        self,
        logits: Operand,
        labels: Operand,
        *,
        reduction: Literal['sum', 'mean', 'none'] = 'mean',
        name: str | None = None,
    ) -> Any:
        """Cross-entropy of the softmax with classes, by default its mean over the rows."""

    def softmax_cross_entropy_rows(self, logits: Operand, labels: Operand, *, name: str | None = None) -> tuple[Any, Any]:
        """Cross-entropy of each row's softmax with a class, not reduced, and the softmax itself."""

    def softplus(self, x: Operand, *, name: str | None = None) -> Any:
        """Softplus, a smooth rectifier, element by element   (Dugas et al., 2001)."""

    def sqrt(self, x: Operand, *, name: str | None = None) -> Any:
        """Square root, element by element."""

    def square(self, x: Operand, *, name: str | None = None) -> Any:
        """Square, element by element."""

    def squeeze(self, x: Operand, *, axis: int | Sequence[int] | None = None, name: str | None = None) -> Any:
        """Removes axes of size 1."""

    def stack(self, *parts: Operand, axis: int = 0, name: str | None = None) -> Any:
        """Joins values of one shape along a new axis."""

    def stop_gradient(self, x: Operand, *, name: str | None = None) -> Any:
        """Returns a value unchanged, and stops deltas."""

    def subtract(self, x: Operand, y: Operand, *, name: str | None = None) -> Any:
        """Difference of broadcast operands."""

    def sum(self, x: Operand, *, axis: int | Sequence[int] | None = None, keepdims: bool = False, name: str | None = None) -> Any:
        """Sum along axes."""

    def sum_to(self, x: Operand, like: Operand, *, name: str | None = None) -> Any:
        """Sum to the shape of another value, which undoes broadcasting."""

    def supremum(
        self,
        x: Operand,
        *,
        axis: int | Sequence[int] | None = None,
        keepdims: bool = False,
        name: str | None = None,
    ) -> Any:
        """Least upper bound along axes: the largest element, or the lowest value of the type where there are no elements."""

    def swap_axes(self, x: Operand, *, axis1: int = -2, axis2: int = -1, name: str | None = None) -> Any:
        """Swaps two axes: by default the last two, which transposes each matrix of a batch."""

    def swish(self, x: Operand, *, beta: float = 1.0, name: str | None = None) -> Any:
        """Swish (SiLU for beta = 1), element by element   (Ramachandran et al., 2017)."""

    def tail_like(self, x: Operand, like: Operand, *, axis: int = 0, name: str | None = None) -> Any:
        """Drops the first elements along an axis, as many as another value has there; undoes a concat, together with head_like"""

    def take_batch(self, data: Operand, order: Operand, cursor: Operand, *, batch: int, name: str | None = None) -> Any:
        """Takes the next mini-batch: rows `order[cursor], order[cursor + 1], ...` of a data array."""

    def tan(self, x: Operand, *, name: str | None = None) -> Any:
        """Tangent, element by element."""

    def tanh(self, x: Operand, *, name: str | None = None) -> Any:
        """Hyperbolic tangent, element by element."""

    def target_probabilities(self, y: Operand, *, name: str | None = None) -> Any:
        """Checks that targets are probabilities."""

    def target_rows(self, y: Operand, *, name: str | None = None) -> Any:
        """Checks that rows of targets are probabilities of classes, such as one-hot rows."""

    def transpose(self, x: Operand, *, axes: Sequence[int] | None = None, name: str | None = None) -> Any:
        """Permutes the axes of a value."""

    def trunc(self, x: Operand, *, name: str | None = None) -> Any:
        """The whole number next to x towards 0, element by element."""

    def unslice(
        self,
        d: Operand,
        like: Operand,
        *,
        axis: int = 0,
        start: int | None = 0,
        end: int | None = 9223372036854775807,
        step: int = 1,
        name: str | None = None,
    ) -> Any:
        """Zeros with a value written into a part of one axis: the gradient of a slice."""

    def variance(
        self,
        x: Operand,
        *,
        axis: int | Sequence[int] | None = None,
        keepdims: bool = False,
        correction: float = 0.0,
        name: str | None = None,
    ) -> Any:
        """Variance along axes, about the mean."""

    def where(self, condition: Operand, x: Operand, y: Operand, *, name: str | None = None) -> Any:
        """Chooses between broadcast operands, element by element."""

    def window_counts(
        self,
        like: Operand,
        *,
        size: Sequence[int],
        strides: Sequence[int],
        padding: Sequence[int],
        dilations: Sequence[int],
        name: str | None = None,
    ) -> Any:
        """Number of elements of each window inside the input: the divisor of average_pool."""

    def window_ones(self, like: Operand, *, size: Sequence[int], name: str | None = None) -> Any:
        """Weights of 1 for each channel separately: with them, correlate sums each window."""

    def zeros_like(self, like: Operand, *, name: str | None = None) -> Any:
        """Zeros of the shape and type of a value."""
