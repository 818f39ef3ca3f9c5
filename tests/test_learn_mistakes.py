"""The exercises of `minicnn learn`: the solution passes, and what people get wrong is named."""

import pytest
from learning import SOLUTION, finding, with_changes

from minicnn.learn.board import problem
from minicnn.learn.exercises import EXERCISES
from minicnn.learn.messages import LANGUAGES, Messages

PADDED = "padded = np.pad(x, ((0, 0), (kh // 2, kh // 2), (kw // 2, kw // 2), (0, 0)))"
ROWS = "cols[:, :, :, u, v] = padded[:, u : u + H, v : v + W]"
CONV = "y = cols @ w.reshape(kh * kw * C, F) + b"
ADDED = "padded[:, u : u + H, v : v + W] += dcols[:, :, :, u, v]"
CROPPED = "return padded[:, kh // 2 : kh // 2 + H, kw // 2 : kw // 2 + W], dw, db"
DW = "dw = (cols.reshape(len(rows), -1).T @ rows).reshape(w.shape)"
DCOLS = "dcols = (dy @ w.reshape(-1, F).T)"
DB = "db = rows.sum(axis=0)"
FILLED = "constant_values=-np.inf"
WON = "even[:, k // 2 :: 2, k % 2 :: 2] = np.where(winner == k, dy, 0)"
SCALE = "scale = mask.astype(x.dtype) / x.dtype.type(keep_prob)"
MASK = "mask = rng.random(x.shape) < keep_prob"
SHIFTED = "shifted = logits - logits.max(axis=1, keepdims=True)"
UPDATE = "value -= learning_rate * m_hat / (np.sqrt(v_hat) + epsilon)"
RELU = "return np.maximum(x, 0), x > 0"
LOSS = "loss = -log_p[np.arange(len(labels)), labels].mean()"
RETURNED = "return dlogits / len(labels)"
M_HAT, V_HAT = "m_hat = m / (1 - beta1**step)", "v_hat = v / (1 - beta2**step)"

MISTAKES = [  # exercise, changes of the solution, the message that names the mistake
    (
        "im2col",
        [(PADDED, "padded = np.pad(x, ((0, 0), (0, kh - 1), (0, kw - 1), (0, 0)))")],
        "padded_at_the_end",
    ),
    ("im2col", [(PADDED, PADDED[:-1] + ', mode="edge")')], "padded_with_edges"),
    ("im2col", [(ROWS, ROWS.replace("u, v]", "kh - 1 - u, kw - 1 - v]", 1))], "patch_flipped"),
    ("im2col", [("return cols.reshape(N, H, W,", "return cols.reshape(N * H * W,")], "reshaped"),
    (
        "im2col",
        [("return cols.reshape(N", "return cols.transpose(0, 1, 2, 5, 3, 4).reshape(N")],
        "channels_first",
    ),
    ("im2col", [("return cols.reshape(N", "return cols.swapaxes(3, 4).reshape(N")], "columns_first"),
    (
        "im2col",
        [(PADDED, "padded, H, W = x, H - kh + 1, W - kw + 1")],
        "no_padding",
    ),
    ("conv_forward", [(CONV, CONV.removesuffix(" + b"))], "no_bias"),
    ("conv_forward", [(CONV, CONV.replace("w.r", "w[::-1, ::-1].r"))], "filter_flipped"),
    ("conv_forward", [(CONV, "y = cols @ w.reshape(F, -1).T + b")], "filter_misread"),
    ("conv_forward", [(CONV, CONV.replace("w.r", "w.transpose(1, 0, 2, 3).r"))], "filter_transposed"),
    ("conv_forward", [(CONV, CONV.replace("+ b", "- b"))], "bias_subtracted"),
    ("conv_backward", [(ADDED, ADDED.replace("+=", "="))], "dx_not_added"),
    ("conv_backward", [(CROPPED, "return padded, dw, db")], "still_padded"),
    ("conv_backward", [(DCOLS, DCOLS.replace("w.r", "w[::-1, ::-1].r"))], "dx_filter_flipped"),
    ("conv_backward", [(DW, DW + "[::-1, ::-1]")], "dw_flipped"),
    ("conv_backward", [(DW, DW + " / N")], "dw_mean"),
    ("conv_backward", [(DW, DW.replace("@ rows", "@ np.ones_like(rows)"))], "dw_ones"),
    ("conv_backward", [(DB, "db = rows.mean(axis=0)")], "db_mean"),
    ("conv_backward", [(DB, "db = rows.sum(axis=0) / N")], "db_mean_of_images"),
    ("conv_backward", [(DB, "db = dy[0].sum(axis=(0, 1))")], "db_one_image"),
    ("pool", [(FILLED, "constant_values=0")], "padding_wins"),
    (
        "pool",
        [
            ("return windows.max(axis=0)", "return -(-windows).max(axis=0)"),
            (FILLED, "constant_values=np.inf"),
        ],
        "min_for_max",
    ),
    ("pool", [(WON, WON.replace("np.where(winner == k, dy, 0)", "dy"))], "all_pixels_win"),
    ("pool", [(WON, WON.replace("np.where(winner == k, dy, 0)", "dy / 4"))], "all_pixels_share"),
    ("pool", [("windows.argmax(axis=0)", "3 - windows[::-1].argmax(axis=0)")], "last_tied_wins"),
    (
        "pool",
        [
            ("winner = windows.argmax(axis=0)", "winner = windows == windows.max(axis=0)"),
            (WON, WON.replace("winner == k", "winner[k]")),
        ],
        "all_tied_win",
    ),
    ("relu", [(RELU, "return np.abs(x), x > 0")], "absolute"),
    ("relu", [(RELU, "return np.maximum(x, 0), x >= 0")], "slope_at_zero"),
    ("relu", [(RELU, "return np.maximum(x, 0), np.ones(x.shape, x.dtype)")], "dy_unmasked"),
    ("relu", [(RELU, "return np.maximum(x, 0), np.maximum(x, 0)")], "maximum_itself"),
    ("dropout", [(SCALE, "scale = mask.astype(x.dtype)")], "not_scaled"),
    ("dropout", [(SCALE, "scale = mask.astype(x.dtype) * x.dtype.type(keep_prob)")], "scaled_down"),
    ("dropout", [(SCALE, "scale = mask.astype(x.dtype) / np.float32(keep_prob)")], "rounded"),
    ("dropout", [(MASK, MASK.replace("<", ">="))], "mask_negated"),
    ("dropout", [(MASK, MASK.replace("keep_prob", "1 - keep_prob"))], "keep_for_drop"),
    ("dropout", [(MASK, MASK.replace("rng.", "np.random."))], "rng_not_used"),
    ("dropout", [(MASK, MASK.replace("x.shape", "x.shape[-1]"))], "mask_repeated"),
    ("dropout", [(MASK, MASK.replace("rng.random(x.shape)", "1 - rng.random(x.shape)"))], "other_draw"),
    ("dropout", [("return x * scale, scale", "return x * scale, mask.astype(x.dtype)")], "back_not_scaled"),
    ("loss", [(SHIFTED, "shifted = logits")], "loss_overflows"),
    ("loss", [(SHIFTED, "shifted = logits - logits.max()")], "one_maximum"),
    ("loss", [(LOSS, LOSS.replace("mean", "sum"))], "loss_summed"),
    ("loss", [(LOSS, LOSS.replace("-log_p", "log_p"))], "loss_sign"),
    ("loss", [(LOSS, LOSS.removesuffix(".mean()"))], "loss_of_each"),
    ("loss", [(LOSS, "loss = -(labels * log_p).sum() / len(labels)")], "labels_as_weights"),
    ("loss", [(LOSS, LOSS.replace("log_p[", "np.log(np.exp(log_p))["))], "log_of_tiny_p"),
    ("loss", [(LOSS, LOSS.replace("log_p[", "np.log(np.exp(log_p) + 1e-12)["))], "log_of_tiny_p"),
    ("loss", [("dlogits[np.arange(len(labels)), labels] -= 1", "dlogits[:, labels] -= 1")], "at_all_labels"),
    ("loss", [(RETURNED, "return dlogits")], "mean_forgotten"),
    ("loss", [(RETURNED, "return -dlogits / len(labels)")], "gradient_sign"),
    ("loss", [("labels] -= 1", "labels] -= 0")], "label_not_subtracted"),
    ("adam", [(M_HAT, "m_hat = m"), (V_HAT, "v_hat = v")], "no_correction"),
    ("adam", [(V_HAT, "v_hat = v")], "v_not_corrected"),
    ("adam", [(M_HAT, "m_hat = m / (1 - beta1)"), (V_HAT, "v_hat = v / (1 - beta2)")], "corrected_by_beta"),
    ("adam", [("grad**2", "grad")], "not_squared"),
    ("adam", [(UPDATE, UPDATE.replace("-=", "+="))], "update_sign"),
    ("adam", [(UPDATE, "value -= learning_rate * m_hat / np.sqrt(v_hat + epsilon)")], "epsilon_inside"),
    ("adam", [(UPDATE, "value -= learning_rate * m_hat / (v_hat + epsilon)")], "no_root"),
    ("adam", [(UPDATE, UPDATE.replace("learning_rate * ", ""))], "no_learning_rate"),
]
OTHERS = [  # exercise, changes, the message that says what is wrong in itself
    (
        "im2col",
        [("cols = np.empty((N, H, W, kh, kw, C), x.dtype)", "cols = np.empty((N, H, W, kh, kw, C))")],
        "dtype",
    ),
    (
        "im2col",
        [("return cols.reshape(N, H, W, kh * kw * C)", "cols.reshape(N, H, W, kh * kw * C)")],
        "nothing_in",
    ),
    ("conv_forward", [("return y, (x.shape, cols, w)", "return y")], "not_a_pair"),
    ("conv_forward", [(CONV, "y = cols @ w + b")], "raised"),
    ("conv_backward", [(CROPPED, CROPPED.replace("dw, db", "db, dw"))], "order"),
    ("conv_backward", [(CROPPED, CROPPED.removesuffix(", db"))], "not_three"),
    ("conv_backward", [(DB, "db = dy.sum(axis=(0, 1))")], "shape"),
    ("relu", [(RELU, "x[x < 0] = 0\n    return x, x > 0")], "changed"),
    ("relu", [("def relu_forward(x):", "def forward(x):")], "missing"),
    ("relu", [(RELU, "raise SystemExit")], "raised"),
    ("relu", [("def relu_forward(x):", "def relu_forward(x, slope):")], "raised"),
    ("loss", [("dlogits = p.copy()", "dlogits = p")], "cache_used_up"),
    ("adam", [("    m *= beta1\n    m +=", "    m = beta1 * m\n    m +=")], "not_in_place"),
    ("adam", [(UPDATE, UPDATE.replace("value -=", "value = value -"))], "not_in_place"),
]


@pytest.mark.parametrize("exercise", [e.name for e in EXERCISES])
def test_the_solution_passes(tmp_path, exercise):
    assert finding(tmp_path, exercise, SOLUTION) is None


@pytest.mark.parametrize(("exercise", "changes", "mistake"), MISTAKES, ids=lambda value: str(value)[:40])
def test_a_usual_mistake_is_named(tmp_path, exercise, changes, mistake):
    found = finding(tmp_path, exercise, with_changes(*changes))
    assert (found.key, found.mistake) in {(key, mistake) for key in ("values", "shape", "mask")}
    for language in LANGUAGES:
        messages = Messages(language)
        assert problem(found, messages)
        assert messages(mistake)


@pytest.mark.parametrize(("exercise", "changes", "key"), OTHERS, ids=lambda value: str(value)[:40])
def test_what_cannot_be_compared_is_said(tmp_path, exercise, changes, key):
    found = finding(tmp_path, exercise, with_changes(*changes))
    assert found.key == key
    assert all(problem(found, Messages(language)) for language in LANGUAGES)


def test_an_unknown_mistake_gets_the_diagnosis_of_the_gradient_check(tmp_path):
    text = with_changes((DW, DW + " * 2"))
    found = finding(tmp_path, "conv_backward", text)
    assert (found.key, found.mistake) == ("values", "")
    assert "equals 2 times the true one" in found.diagnosis


def test_an_example_can_be_followed_by_hand(tmp_path):
    found = finding(tmp_path, "conv_forward", with_changes((CONV, CONV.removesuffix(" + b"))))
    assert dict(found.shown)["x ="] == "1  2  3\n4  5  6\n7  8  9"
    assert dict(found.shown)["expected"].split()[0] == "121"  # 1 + 10 * 2 + 100
    assert dict(found.shown)["found"].split()[0] == "21"


def test_an_exception_is_shown_with_its_line(tmp_path):
    found = finding(tmp_path, "conv_forward", with_changes((CONV, "y = cols @ w + b")))
    assert found.values["where"].startswith("my_network.py, line ")
    assert found.values["where"].endswith(": y = cols @ w + b")
    assert found.values["arguments"] == "float64 [1, 3, 3, 1], float64 [3, 3, 1, 1], float64 [1]"


def test_a_function_that_is_not_written_is_not_started(tmp_path):
    body = SOLUTION[SOLUTION.index("    N, H, W, C = x.shape") : SOLUTION.index("\n\n\ndef conv2d_forward")]
    text = with_changes((body, '    """Patches."""\n    raise NotImplementedError'))
    assert finding(tmp_path, "im2col", text) == "im2col is not started"
    assert finding(tmp_path, "conv_forward", text) == "im2col is not started"


@pytest.mark.parametrize("exercise", ["im2col", "conv_forward"])
def test_a_raise_that_was_left_in_the_code_is_named(tmp_path, exercise):
    found = finding(tmp_path, exercise, with_changes((PADDED, "raise NotImplementedError")))
    assert (found.key, found.values["function"]) == ("raise_left", "im2col")
    assert found.values["where"].endswith(": raise NotImplementedError")


def test_numbers_that_differ_in_the_last_digits_are_shown_with_them(tmp_path):
    text = with_changes((LOSS, LOSS.replace("log_p[", "np.log(np.exp(log_p) + 1e-7)[")))
    found = finding(tmp_path, "loss", text)
    assert found.mistake == "rounded"
    assert dict(found.shown)["expected"] != dict(found.shown)["found"]


def test_naive_loops_pass(tmp_path):
    loops = (
        "kh, kw, C, F = w.shape\n    N, H, W, _ = x.shape\n    y = np.zeros((N, H, W, F), x.dtype) + b\n"
        "    for n in range(N):\n        for i in range(H):\n            for j in range(W):\n"
        "                for u in range(kh):\n                    for v in range(kw):\n"
        "                        a, c = i + u - kh // 2, j + v - kw // 2\n"
        "                        if 0 <= a < H and 0 <= c < W:\n"
        "                            y[n, i, j] += x[n, a, c] @ w[u, v]\n"
    )
    text = with_changes(("    y = cols @ w.reshape(kh * kw * C, F) + b\n", f"    {loops}"))
    assert finding(tmp_path, "conv_forward", text) is None
