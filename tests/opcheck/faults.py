"""What a report must say of each planted op: its file, and a pattern that the text of a finding matches.

Patterns name the kind of fault and, where an op has several operands or attributes, the place. They leave the wording to the
checker: they have the words that a reviewer would use, in any order and any case.

What no checker can find, so that nothing of it is planted here:

- a mistake that the reference shares with the kernel. The equation in the docstring is prose; nothing else says what was meant.
- a wrong value at points that nobody tries: one float64 of 2**64, one size out of a million, a threshold that neither the domain,
  the examples nor the usual special values come near. A test at points proves nothing about the others.
- a slope that is wrong by less than central differences are uncertain, which is about 1e-10 of the largest term in float64.
- the slope at a kink: each value between the two one-sided slopes is a convention.
- a race that needs a schedule which does not occur. Pieces that run in turn, in any order, show a wrong division of the work;
  they do not show an access that is wrong only at the same time.
- reads outside an operand whose values have no effect, on a machine that does not check addresses.
- state that shows later than the check lasts: a counter that overflows, a cache that fills up, a clock at midnight.
- a loop that ends after a week. A limit of time cannot tell it from one that never ends.
- a reference that is right on this version of NumPy only, and a kernel that is right on this processor only.
- an attribute whose allowed values are unlimited, with one that is wrong: it tries some of them.
- slow code that is vectorized. Speed needs another implementation to compare with.
"""


def all_of(*patterns: str) -> str:
    """A pattern that matches a text in which each of these is found, in any order."""
    return "".join(f"(?=.*(?:{p}))" for p in patterns)


def named(operand: str) -> str:
    """A pattern for the name of an operand, or of its delta."""
    return rf"(?<![a-z0-9])(?:d_)?{operand}(?![a-z0-9_])"


SLOPE = r"gradient|derivative|slope|delta|backward|differences?\b"
SECOND = r"second|derivative 2|2nd|order 2|higher|hessian|twice"
VALUE = r"differ|wrong|mismatch|disagree|unequal|not equal|expected|instead of|reference"
UNWRITTEN = r"unwritten|uninitiali[sz]ed|not written|never writ|does not write|leaves|not set|poison|undefined"
READS_FIRST = UNWRITTEN + r"|before it (?:is )?writ|reads? (?:its |the )?(?:output|out|scratch|memory)|not cleared|repeat|previous"
OUTSIDE = r"out[- ]of[- ](?:range|bounds)|outside|beyond|past|bounds|index(?:error)?\b|guard|overr[ua]n"
CHANGED = r"in[- ]place|modif|chang|overwr|writes? (?:to|into) (?:its |an )?(?:operand|input)|mutat"
STATE = r"repeat|again|second (?:call|run)|state|determinis|same (?:operands|call)|twice|reproduc|differs? between"
PIECES = r"piece|thread|parallel|share of the work|division of|race"
RAISES = r"rais|exception|error|fail|cannot|could not|refus"
COMPILE = r"compil|numba|typing|jit"
PLAIN = r"plain|un-?jitted|python|interpret"
CRASH = r"crash|signal|killed|sigsegv|segmentation|sigfpe|sigabrt|died|ended|terminat|exit|recurs|divi[sd]|zero|compil|" + OUTSIDE
HANG = r"hang|time ?out|timed out|seconds|did not (?:end|finish|return|stop)|endless|infinite|too long|limit"
ALLOCATES = r"allocat|memory|temporar"
VECTOR = r"vector|simd|graphexec\.math|scalar|loop|raise|slow"
TRAIT = r"trait|untrue|not (?:commutative|neutral|exact|an? involution|an? identity|true)|declares?"
ACCURACY = VALUE + r"|overflow|cancel|accura|precis|digit|relative|ulp|inf|nan|round"
SPECIAL = VALUE + r"|nan|inf|special|zero|\b0\b|-0|tie|kink|equal"
SHAPE = r"shape|axis|axes|batch|rank|size"
DTYPE = r"dtype|type|int64|int32|float|bool|trunc|overflow|precis|digit"
IDENTITY = r"identity|neutral|no elements|empty|negative|" + VALUE
ORDER = r"associat|order|block|combin|" + VALUE

FAULTS = {
    # wrong_derivative
    "cubed_short": ("wrong_derivative", SLOPE),
    "cosine_wave": ("wrong_derivative", SLOPE),
    "scaled_sine": ("wrong_derivative", all_of(SLOPE, r"\bw\b")),
    "gaussian_bump": ("wrong_derivative", all_of(SLOPE, r"\bs\b")),
    "leaky_branch": ("wrong_derivative", SLOPE),
    "hypotenuse": ("wrong_derivative", all_of(SLOPE, named("y"))),
    "even_power": ("wrong_derivative", SLOPE),
    "row_average": ("wrong_derivative", SLOPE),
    "outer_sum": ("wrong_derivative", all_of(SLOPE, named("y"))),
    "prefix_mean": ("wrong_derivative", SLOPE),
    "last_axis_bias": ("wrong_derivative", all_of(SLOPE, named("b"))),
    "dot_rows": ("wrong_derivative", all_of(SLOPE, rf"{named('x')}|{named('y')}")),
    "quadratic_form": ("wrong_derivative", all_of(SLOPE, named("x"))),
    "weighted_average": ("wrong_derivative", all_of(SLOPE, named("w"))),
    "gated": ("wrong_derivative", SLOPE),
    "huber_width": ("wrong_derivative", all_of(SLOPE, "width")),
    # second_derivative
    "sine_once": ("second_derivative", all_of(SLOPE, SECOND)),
    "exponential_once": ("second_derivative", all_of(SLOPE, SECOND)),
    "soft_maximum": ("second_derivative", all_of(SLOPE, SECOND)),
    "witch_curve": ("second_derivative", all_of(SLOPE, SECOND)),
    "row_cube_slope": ("second_derivative", all_of(SLOPE, named("x"))),
    "row_cube": ("second_derivative", all_of(SLOPE, SECOND)),
    "square_times": ("second_derivative", all_of(SLOPE, SECOND)),
    # sizes
    "block_sum": ("sizes", VALUE),
    "absolute_sum": ("sizes", VALUE),
    "wide_cumulative": ("sizes", VALUE),
    "steps_from_zero": ("sizes", VALUE),
    "row_median": ("sizes", VALUE),
    "mean_or_zero": ("sizes", VALUE + r"|nan|divi[sd]"),
    "peak_by_pairs": ("sizes", VALUE),
    "unrolled_dot": ("sizes", VALUE),
    "smoothed": ("sizes", VALUE),
    "signed_square": ("sizes", SLOPE),
    # races
    "chunked_double": ("races", PIECES + "|" + UNWRITTEN),
    "halved_work": ("races", PIECES + "|" + UNWRITTEN),
    "column_totals": ("races", PIECES + "|" + READS_FIRST),
    "centred_by_piece": ("races", PIECES),
    "spread_right": ("races", PIECES + "|" + READS_FIRST),
    "shifted_by_first": ("races", PIECES + "|" + READS_FIRST),
    "negated_by_pieces": ("races", PIECES + "|" + UNWRITTEN),
    "rounded_up_chunks": ("races", PIECES + "|" + OUTSIDE),
    "scaled_columns": ("races", PIECES + "|" + SLOPE),
    # attributes
    "shifted_by": ("attributes", "offset"),
    "rounded_off": ("attributes", all_of(VALUE, "mode|up")),
    "rescaled": ("attributes", all_of(VALUE, r"\bby\b|half")),
    "squared_signed": ("attributes", VALUE),
    "flipped_along": ("attributes", r"axis"),
    "window_sum": ("attributes", all_of(VALUE, "size")),
    "raised_to": ("attributes", all_of(VALUE, r"\bk\b")),
    "lagged": ("attributes", r"\blag\b"),
    "amplified": ("attributes", all_of(VALUE, "gain")),
    "norm_of_order": ("attributes", all_of(VALUE, "order")),
    "energy": ("attributes", all_of(SHAPE + "|" + VALUE, "keepdims")),
    "monomial": ("attributes", all_of(SLOPE, r"\bk\b")),
    # shapes
    "every_second": ("shapes", SHAPE),
    "row_energy": ("shapes", SHAPE),
    "all_products": ("shapes", SHAPE),
    "transform": ("shapes", SHAPE + "|reference"),
    "diagonal_sum": ("shapes", SHAPE + "|reference"),
    "count_positive": ("shapes", DTYPE),
    "repeated_twice": ("shapes", SHAPE),
    "plus_offset": ("shapes", VALUE),
    "with_opposite": ("shapes", VALUE),
    "quarter_turn": ("shapes", SHAPE),
    "last_axis_total": ("shapes", VALUE),
    # special_points
    "sign_of": ("special_points", SPECIAL),
    "larger_of": ("special_points", "nan"),
    "step_at_zero": ("special_points", SPECIAL),
    "sine_ratio": ("special_points", "nan|zero|0"),
    "entropy_term": ("special_points", "nan|zero|0"),
    "standardized": ("special_points", "nan|equal|constant"),
    "sign_bit": ("special_points", SPECIAL),
    "ratio_at_one": ("special_points", "nan|1"),
    "top_index": ("special_points", SPECIAL),
    "soft_sign": ("special_points", "nan|inf"),
    "smallest_in_row": ("special_points", "nan"),
    "within_one": ("special_points", SPECIAL),
    # accuracy
    "plain_softmax": ("accuracy", ACCURACY),
    "plain_softplus": ("accuracy", ACCURACY),
    "plain_variance": ("accuracy", ACCURACY),
    "growth": ("accuracy", ACCURACY),
    "log_sigmoid": ("accuracy", ACCURACY),
    "plain_norm": ("accuracy", ACCURACY),
    "naive_sum": ("accuracy", ACCURACY),
    "logistic_curve": ("accuracy", all_of(SLOPE, "nan|inf|overflow|finite")),
    "root_step": ("accuracy", ACCURACY),
    "versine": ("accuracy", ACCURACY),
    "finite_mean": ("accuracy", ACCURACY),
    "root_of_square": ("accuracy", all_of(SLOPE, "nan|inf|overflow|underflow|finite")),
    # strided
    "tripled": ("strided", r"strid|contiguous|transpos|revers|" + VALUE),
    "opposite": ("strided", r"strid|contiguous|transpos|revers|" + VALUE),
    "two_more": ("strided", r"strid|contiguous|transpos|revers|" + VALUE + "|" + OUTSIDE + "|" + CRASH),
    "elementwise_product": ("strided", r"strid|contiguous|transpos|revers|" + VALUE),
    "main_diagonal": ("strided", r"strid|contiguous|transpos|revers|view|" + VALUE),
    "column": ("strided", r"strid|contiguous|transpos|revers|view|" + VALUE),
    "every_third": ("strided", r"strid|view|" + SHAPE),
    "in_pairs": ("strided", r"strid|contiguous|transpos|revers|view|" + VALUE),
    "windows_of": ("strided", r"memory|view|" + SHAPE + "|" + OUTSIDE),
    "mirrored": ("strided", r"memory|view|" + VALUE + "|" + OUTSIDE),
    # dtypes
    "halved": ("dtypes", VALUE),
    "midpoint": ("dtypes", VALUE + "|overflow"),
    "inverted": ("dtypes", all_of(VALUE + "|" + DTYPE, "bool")),
    "third": ("dtypes", ACCURACY),
    "single_sum": ("dtypes", ACCURACY),
    "count_true": ("dtypes", DTYPE),
    "integer_mean": ("dtypes", DTYPE),
    "next_integer": ("dtypes", VALUE + "|overflow"),
    "modulo_three": ("dtypes", VALUE),
    "tabulated": ("dtypes", ACCURACY),
    "shifted_index": ("dtypes", DTYPE),
    # unwritten
    "shifted_right": ("unwritten", UNWRITTEN),
    "positive_part": ("unwritten", UNWRITTEN),
    "minus_mirrored": ("unwritten", UNWRITTEN),
    "differences": ("unwritten", all_of(UNWRITTEN, "d_x|delta|backward|gradient")),
    "weighted_total": ("unwritten", all_of(UNWRITTEN, named("w"))),
    "total_and_positive": ("unwritten", all_of(UNWRITTEN, "positive")),
    "upper_triangle": ("unwritten", UNWRITTEN),
    # uninitialized
    "column_sums": ("uninitialized", READS_FIRST),
    "occurrences": ("uninitialized", READS_FIRST + "|scratch"),
    "product_table": ("uninitialized", all_of(READS_FIRST, "d_x|delta|backward|gradient")),
    "running_maximum": ("uninitialized", READS_FIRST),
    "carried_sum": ("uninitialized", READS_FIRST + "|scratch"),
    # out_of_range
    "forward_steps": ("out_of_range", OUTSIDE),
    "backward_steps": ("out_of_range", OUTSIDE + "|" + VALUE),
    "plus_total": ("out_of_range", OUTSIDE),
    "only_positive": ("out_of_range", OUTSIDE),
    "first_three": ("out_of_range", OUTSIDE),
    "looked_up": ("out_of_range", OUTSIDE + "|" + CRASH),
    "increments": ("out_of_range", OUTSIDE),
    "row_totals": ("out_of_range", OUTSIDE + "|" + VALUE),
    "histogram_of": ("out_of_range", OUTSIDE + "|" + CRASH),
    # in_place
    "sorted_row": ("in_place", CHANGED),
    "centred_row": ("in_place", CHANGED),
    "doubled_row": ("in_place", CHANGED),
    "first_zero": ("in_place", CHANGED),
    "above_least": ("in_place", CHANGED),
    "cubed_row": ("in_place", CHANGED),
    # state
    "noisy": ("state", STATE + "|random"),
    "counted": ("state", STATE),
    "jittered": ("state", STATE + "|random"),
    "time_stamp": ("state", STATE + "|clock|time"),
    "serial_number": ("state", STATE),
    "absolute_above_last": ("state", STATE + "|" + READS_FIRST + "|scratch"),
    "scaled_once": ("state", STATE + "|factor"),
    # allocation
    "squares_by_row": ("allocation", ALLOCATES),
    "rolled_left": ("allocation", ALLOCATES),
    "ascending": ("allocation", ALLOCATES),
    "exponentials": ("allocation", ALLOCATES),
    "parabola": ("allocation", ALLOCATES),
    # not_vectorized
    "library_exp": ("not_vectorized", VECTOR),
    "library_tanh": ("not_vectorized", VECTOR),
    "called_log": ("not_vectorized", VECTOR),
    "guarded_root": ("not_vectorized", VECTOR),
    "counted_up": ("not_vectorized", VECTOR),
    # updates
    "descent_idle": ("updates", VALUE + "|updat"),
    "descent_twice": ("updates", VALUE + "|updat|twice"),
    "corrected_momentum": ("updates", all_of(VALUE + "|updat", "step|3")),
    "sign_descent": ("updates", all_of(VALUE + "|updat", r"\blr\b")),
    "stale_velocity": ("updates", all_of(VALUE + "|updat", named("v"))),
    "adaptive_descent": ("updates", VALUE + "|updat|in[- ]place"),
    # two_outputs
    "row_range": ("two_outputs", all_of(VALUE, "low|high")),
    "total_and_gap": ("two_outputs", all_of(SLOPE, named("y"))),
    "top_and_place": ("two_outputs", all_of(DTYPE, "place")),
    "split_number": ("two_outputs", all_of(VALUE, "whole")),
    "on_hyperbola": ("two_outputs", SLOPE),
    "doubled_and_energy": ("two_outputs", SLOPE),
    # reductions
    "mean_of_pairs": ("reductions", ORDER),
    "largest": ("reductions", IDENTITY),
    "product_of": ("reductions", IDENTITY),
    "squares_of": ("reductions", ORDER),
    "first_minus_rest": ("reductions", ORDER),
    "least_of": ("reductions", r"empty|no elements|nonempty|size 0|\(0|identity|" + RAISES),
    "top_of": ("reductions", "nan"),
    "count_above": ("reductions", ORDER),
    "signed_product": ("reductions", IDENTITY),
    # traits
    "weighted_pair": ("traits", "commut"),
    "to_the_power": ("traits", "neutral"),
    "complement": ("traits", "involution"),
    "inverse_of": ("traits", "involution"),
    "exact_exp": ("traits", "exact"),
    "bounded_copy": ("traits", "identity"),
    "upper_of": ("traits", "neutral"),
    "times_square": ("traits", "neutral"),
    "exact_total": ("traits", "exact"),
    "clipped_sum": ("traits", "commut"),
    # composites
    "mean_square": ("composites", VALUE),
    "centred_last": ("composites", VALUE),
    "scaled_softmax": ("composites", all_of("decompos", "scale")),
    "total_size": ("composites", "decompos"),
    "gaussian_gate": ("composites", VALUE),
    "smoothed_labels": ("composites", all_of(VALUE, "smoothing")),
    "floored": ("composites", all_of("decompos", "low")),
    # exceptions
    "inner_product": ("exceptions", all_of("reference", RAISES + "|" + SHAPE)),
    "below_top": ("exceptions", all_of("reference", RAISES)),
    "squared_any": ("exceptions", all_of("reference", RAISES)),
    "sixty_over": ("exceptions", all_of("shape", RAISES + "|divi")),
    "odd_places": ("exceptions", all_of("shape", RAISES + "|odd")),
    "library_root": ("exceptions", all_of(PLAIN, RAISES)),
    "two_digits": ("exceptions", COMPILE),
    "quiet_square": ("exceptions", COMPILE),
    "summed_up": ("exceptions", COMPILE),
    "magnitude": ("exceptions", all_of(COMPILE, "int")),
    "checked_root": ("exceptions", RAISES),
    "inverse_checked": ("exceptions", r"status|2|errors"),
    "squashed": ("exceptions", RAISES),
    "times": ("exceptions", r"delta|gradient|rule"),
    "turned": ("exceptions", "float23|dtype|shape"),
    # crashes
    "far_writer": ("crashes", CRASH),
    "null_reader": ("crashes", CRASH),
    "recursive_sum": ("crashes", CRASH),
    "lost_address": ("crashes", CRASH),
    "wild_lookup": ("crashes", CRASH),
    # hangs
    "collatz_steps": ("hangs", HANG),
    "newton_cube_root": ("hangs", HANG),
    "common_divisor": ("hangs", HANG),
    "tree_sum": ("hangs", HANG),
    "place_in_table": ("hangs", HANG),
    # proves_little
    "doubled_stopped": ("proves_little", SLOPE + "|zero|stop"),
    "always_one": ("proves_little", VALUE + "|constant|depend"),
    "leaky_hidden": ("proves_little", VALUE + "|domain|negative"),
    "unreferenced": ("proves_little", "reference"),
    "near_identity": ("proves_little", VALUE + "|domain"),
    "tripled_zeros": ("proves_little", VALUE + "|examples|zero"),
    "sum_of_one": ("proves_little", VALUE + "|examples|size"),
}
