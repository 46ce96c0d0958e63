"""Write single nodes in the forms of operator sets 7 to 12, and in newer ones of which the standard has few tests, with what ONNX
Runtime computes of them.

    make_old_forms.py FOLDER

Every case becomes FOLDER/NAME.onnx and an entry in FOLDER/cases.json, as make_node_tests.py writes them: what the float inputs
hold and what the outputs are, as places in FOLDER/values.bin.
"""
import json
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from make_node_tests import Values

generator = np.random.default_rng(7)
CASES = []


def flow(*shape, low=-2.0, high=2.0):
    return generator.uniform(low, high, shape).astype(np.float32)


def case(name, operator, opsets, inputs, outputs=1, **attributes):
    """`inputs`: arrays flow; lists `[array]` are initializers; empty strings are left out."""
    for opset in opsets:
        CASES.append((f"{name}_{opset}", operator, opset, inputs, outputs, attributes))


def ints(*values):
    return [np.array(values, np.int64)]


def scalar(value, data_type=np.float32):
    return [np.array(value, data_type)]


def activations():
    x = flow(1, 3, 4, 5)
    for name in ("Relu", "Sigmoid", "Tanh", "Exp", "Abs", "Neg", "Floor", "Ceil", "Softplus", "Identity"):
        case(name.lower(), name, (7, 12), [x])
    for name in ("Sqrt", "Log", "Reciprocal"):
        case(name.lower(), name, (7, 12), [np.abs(x) + 0.5])
    case("erf", "Erf", (9, 12), [x])
    case("elu", "Elu", (7, 12), [x], alpha=0.7)
    case("selu", "Selu", (7, 12), [x])
    for name in ("Sin", "Cos", "Softsign"):
        case(name.lower(), name, (7, 12), [x])
    case("celu", "Celu", (12,), [x], alpha=0.7)
    case("thresholded_relu", "ThresholdedRelu", (10,), [x], alpha=0.3)
    case("leaky_relu", "LeakyRelu", (7, 12), [x], alpha=0.2)
    case("hard_sigmoid", "HardSigmoid", (7, 12), [x], alpha=0.3, beta=0.4)
    case("clip_attributes", "Clip", (7, 10), [x], min=-0.5, max=1.0)
    case("clip_least", "Clip", (7, 10), [x], min=-0.5)
    case("clip_nothing", "Clip", (7, 10), [x])
    case("clip_inputs", "Clip", (11, 12), [x, scalar(-0.5), scalar(1.0)])
    case("clip_most", "Clip", (11, 12), [x, "", scalar(1.0)])
    case("prelu_channel", "PRelu", (7, 9, 12), [x, [flow(3, 1, 1)]])
    case("prelu_one", "PRelu", (7, 12), [x, [flow(1)]])
    case("dropout_attribute", "Dropout", (7, 10), [x], ratio=0.4)
    case("dropout_input", "Dropout", (12,), [x, scalar(0.4)])
    case("cast_down", "Cast", (7, 9, 12), [flow(2, 3, high=9)], to=TensorProto.INT32)


def functions():
    x = flow(1, 3, 4, 5)
    for name in ("Atan", "Tan", "Sinh", "Cosh", "Asinh"):
        case(name.lower(), name, (9,), [x])
    for name in ("Acos", "Asin", "Atanh"):
        case(name.lower(), name, (9,), [x * 0.4])
    case("acosh", "Acosh", (9,), [np.abs(x) + 1.1])
    case("sign", "Sign", (9, 12), [np.round(x)])
    case("round", "Round", (11, 22), [x * 2])
    case("shrink", "Shrink", (9,), [x], bias=0.3, lambd=0.7)
    case("isnan", "IsNaN", (9,), [x])
    case("isinf", "IsInf", (10,), [np.where(np.abs(x) > 1, np.copysign(np.inf, x), x).astype(np.float32)], detect_negative=0)
    case("mean", "Mean", (8,), [x, flow(3, 1, 5), flow(5)])
    case("mod", "Mod", (10,), [x, scalar(0.7)], fmod=1)
    for name in ("LessOrEqual", "GreaterOrEqual"):
        case(name.lower(), name, (12, 16), [np.round(x), np.round(flow(4, 5))])
    for name in ("And", "Or", "Xor"):
        case(name.lower(), name, (7,), [[x > 0], [flow(4, 5) > 0]])
    case("not", "Not", (7,), [[x > 0]])


def arithmetic():
    x, y = flow(1, 3, 4, 5), flow(1, 3, 1, 1, low=0.5)
    for name in ("Add", "Sub", "Mul", "Div"):
        case(name.lower(), name, (7, 12), [x, y])
        case(f"{name.lower()}_constant", name, (7, 12), [x, [flow(5, low=0.5)]])
    case("pow", "Pow", (7, 12), [np.abs(x) + 0.1, scalar(1.5)])
    case("pow_integer", "Pow", (12,), [x, scalar(2, np.int64)])
    for name in ("Sum", "Max", "Min"):
        case(f"{name.lower()}_one", name, (7,), [x])
        case(f"{name.lower()}_many", name, (8, 12), [x, flow(1, 3, 4, 1), flow(5)])
    for name in ("Greater", "Less", "Equal"):
        case(name.lower(), name, (9, 12) if name != "Equal" else (11,), [np.round(x), np.round(flow(1, 3, 4, 5))])
    case("where", "Where", (9,), [[x > 0], x, flow(1, 3, 4, 5)])
    case("matmul", "MatMul", (7, 9), [flow(2, 3, 4), flow(4, 5)])
    case("gemm", "Gemm", (7, 9, 11), [flow(2, 4), [flow(3, 4)], [flow(3)]], transB=1, alpha=0.5, beta=2.0)
    case("gemm_rows", "Gemm", (7, 11), [flow(4, 2), [flow(4, 3)], [flow(2, 1)]], transA=1)
    case("gemm_without_bias", "Gemm", (11,), [flow(2, 4), [flow(4, 3)]])
    case("einsum", "Einsum", (12,), [flow(2, 3, 4), flow(2, 4, 5)], equation="bij,bjk->bik")


def convolutions():
    x = flow(1, 4, 7, 8)
    case("conv", "Conv", (7, 11), [x, [flow(6, 2, 3, 3)], [flow(6)]], group=2, pads=[1, 0, 2, 1], strides=[2, 1], dilations=[1, 2])
    for pad in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        case(f"conv_{pad.lower()}", "Conv", (7, 11), [x, [flow(3, 4, 3, 2)]], auto_pad=pad, strides=[2, 2])
    weight = [flow(4, 3, 3, 3)]
    case("conv_transpose", "ConvTranspose", (7, 11), [x, weight, [flow(3)]], strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 0])
    case("conv_transpose_shape", "ConvTranspose", (7, 11), [x, weight], strides=[2, 2], output_shape=[14, 16])
    case("conv_transpose_groups", "ConvTranspose", (7, 11), [x, [flow(4, 2, 2, 2)]], strides=[2, 2], group=2)
    case("conv_transpose_same", "ConvTranspose", (11,), [x, weight], strides=[2, 2], auto_pad="SAME_UPPER")
    for name in ("MaxPool", "AveragePool"):
        case(name.lower(), name, (7, 10, 12), [x], kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1])
        case(f"{name.lower()}_same", name, (7, 12), [x], kernel_shape=[2, 3], strides=[2, 2], auto_pad="SAME_LOWER")
        case(f"{name.lower()}_ceil", name, (10, 12), [x], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    case("averagepool_padded", "AveragePool", (7, 11), [x], kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
    case("maxpool_dilated", "MaxPool", (10, 12), [x], kernel_shape=[2, 2], dilations=[2, 3])
    case("globalaveragepool", "GlobalAveragePool", (7,), [x])
    case("globalmaxpool", "GlobalMaxPool", (7,), [x])


def pools_and_back():
    x, window = flow(1, 3, 6, 8), {"kernel_shape": [2, 2], "strides": [2, 2]}
    for opset in (8, 10, 12):
        case("maxpool_indices", "MaxPool", (opset,), [x], 2, **window)
    case("maxpool_indices_padded", "MaxPool", (12,), [x], 2, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 1], ceil_mode=1)
    case("maxpool_indices_columns", "MaxPool", (8, 12), [x], 2, storage_order=1, **window)
    indices = [np.array([[[[5, 2, 8], [9, 15, 23]]]], np.int64)]
    case("maxunpool", "MaxUnpool", (9, 11), [flow(1, 1, 2, 3), indices], **window)
    case("maxunpool_padded", "MaxUnpool", (11,), [flow(1, 1, 2, 3), indices], kernel_shape=[3, 3], strides=[3, 3], pads=[0, 1, 1, 0])
    case("maxunpool_shape", "MaxUnpool", (11,), [flow(1, 1, 2, 3), indices, ints(1, 1, 5, 7)], **window)
    for p in (1, 2, 3):
        case(f"lppool_{p}", "LpPool", (7, 11) if p == 2 else (11,), [x], p=p, pads=[1, 0, 1, 0], **window)
        case(f"globallppool_{p}", "GlobalLpPool", (7,), [x], p=p)
    case("lppool_dilated", "LpPool", (18,), [x], p=2, kernel_shape=[2, 3], dilations=[2, 1], ceil_mode=1, strides=[1, 2])
    for p in (1, 2):
        case(f"lpnormalization_{p}", "LpNormalization", (7,), [x], p=p, axis=1)


def selections():
    x = flow(2, 3, 4)
    for name in ("ArgMax", "ArgMin"):
        case(name.lower(), name, (7, 11, 13), [x], axis=1)
        case(f"{name.lower()}_last", name, (11,), [np.round(x)], axis=-1, keepdims=0)
        case(f"{name.lower()}_last_of_equals", name, (12,), [np.round(x)], axis=2, select_last_index=1)
    case("topk_attribute", "TopK", (7,), [x], 2, k=2, axis=1)
    case("topk_input", "TopK", (10,), [x, ints(3)], 2)
    case("topk_least", "TopK", (11,), [np.round(x), ints(2)], 2, largest=0, axis=2)
    case("cumsum", "CumSum", (11, 14), [x, ints(1)[0:1]], exclusive=1)
    case("cumsum_back", "CumSum", (11,), [x, ints(-1)], reverse=1)
    indices = [np.array([[1, 2], [0, -1]], np.int64)]
    case("gathernd", "GatherND", (11, 12), [x, indices])
    case("gathernd_batch", "GatherND", (12,), [x, [np.array([[1], [-1]], np.int64)]], batch_dims=1)
    along = [np.array([[[1, 0, 2, 1]], [[2, 2, -3, 0]]], np.int64)]
    case("scatter", "Scatter", (9,), [x, along, flow(2, 1, 4)], axis=1)
    case("scatter_elements", "ScatterElements", (11,), [x, along, flow(2, 1, 4)], axis=1)
    case("scatter_elements_add", "ScatterElements", (16,), [x, along, flow(2, 1, 4)], axis=1, reduction="add")
    case("scatternd", "ScatterND", (11,), [x, indices, flow(2, 4)])
    for reduction in ("add", "mul", "max", "min"):
        case(f"scatternd_{reduction}", "ScatterND", (16 if reduction in ("add", "mul") else 18,), [x, indices, flow(2, 4)], reduction=reduction)
    case("onehot", "OneHot", (9, 11), [[np.array([[0, 3], [2, -1]], np.int64)], ints(4), [np.array([0.5, 2], np.float32)]], axis=1)
    case("eyelike", "EyeLike", (9,), [flow(3, 4)], k=1)
    case("reversesequence", "ReverseSequence", (10,), [flow(4, 3, 2), ints(2, 4, 1)])
    case("reversesequence_batch", "ReverseSequence", (10,), [flow(2, 5, 3), ints(5, 3)], batch_axis=0, time_axis=1)
    case("col2im", "Col2Im", (18,), [flow(2, 12, 4), ints(5, 5), ints(2, 3)], pads=[0, 1, 1, 0], strides=[2, 2], dilations=[2, 1])
    for upper in (0, 1):
        case(f"trilu_{upper}", "Trilu", (14,), [flow(2, 4, 5), ints(1)], upper=upper)


def cells():
    for name, gates, count in (("LSTM", 4, 3), ("GRU", 3, 2), ("RNN", 1, 2)):
        x, state = flow(5, 2, 3), flow(1, 2, 4)
        weights = [[flow(1, 4 * gates, 3)], [flow(1, 4 * gates, 4)], [flow(1, 8 * gates)]]
        case(f"{name.lower()}", name, (7, 14), [x, *weights[:2]], count, hidden_size=4)
        lengths = [np.array([3, 5], np.int32)]
        case(f"{name.lower()}_lengths", name, (7,), [x, *weights, lengths, state], count, hidden_size=4)
        case(f"{name.lower()}_reverse", name, (14,), [x, *weights, lengths], count, hidden_size=4, direction="reverse", clip=0.8)
        both = [[flow(2, 4 * gates, 3)], [flow(2, 4 * gates, 4)], [flow(2, 8 * gates)]]
        case(f"{name.lower()}_both", name, (14,), [x, *both], count, hidden_size=4, direction="bidirectional")
    more = [flow(1, 2, 4), flow(1, 2, 4), [flow(1, 12)]]
    lstm = [flow(5, 2, 3), [flow(1, 16, 3)], [flow(1, 16, 4)], [flow(1, 32)]]
    case("lstm_peepholes", "LSTM", (7,), [*lstm, "", *more], 3, hidden_size=4)
    case("lstm_input_forget", "LSTM", (7,), [*lstm, "", *more[:2]], 3, hidden_size=4, input_forget=1)
    named = {"activations": ["HardSigmoid", "Softsign", "ScaledTanh"], "activation_alpha": [0.3, 0.9], "activation_beta": [0.4, 1.2]}
    case("lstm_activations", "LSTM", (7,), lstm, 3, hidden_size=4, **named)
    gru = [flow(5, 2, 3), [flow(1, 12, 3)], [flow(1, 12, 4)], [flow(1, 24)]]
    case("gru_linear_before_reset", "GRU", (7, 14), gru, 2, hidden_size=4, linear_before_reset=1)


def samples():
    x, grid = flow(1, 2, 5, 6), flow(1, 4, 7, 2, low=-1.4, high=1.4)
    for opset, modes in ((16, ("bilinear", "nearest", "bicubic")), (20, ("linear", "nearest", "cubic"))):
        for mode in modes:
            for padding in ("zeros", "border", "reflection"):
                for corners in (0, 1):
                    names = {"mode": mode, "padding_mode": padding, "align_corners": corners}
                    case(f"gridsample_{mode}_{padding}_{corners}", "GridSample", (opset,), [x, grid], **names)
    volume = [flow(1, 2, 3, 4, 5), flow(1, 2, 3, 2, 3, low=-1.4, high=1.4)]
    for padding in ("zeros", "border", "reflection"):
        case(f"gridsample_volume_{padding}", "GridSample", (20,), volume, mode="linear", padding_mode=padding)
    for corners in (0, 1):
        case(f"affinegrid_{corners}", "AffineGrid", (20,), [flow(1, 2, 3), ints(1, 2, 4, 5)], align_corners=corners)
    boxes, images = [np.array([[0.3, 1, 4, 3.6], [-2, 0, 9, 9], [3, 3, 3, 3]], np.float32)], ints(0, 0, 0)
    sizes = {"output_height": 2, "output_width": 3}
    case("roialign", "RoiAlign", (10, 16), [x, boxes, images], spatial_scale=0.8, sampling_ratio=2, **sizes)
    case("roialign_adaptive", "RoiAlign", (10, 16), [x, boxes, images], **sizes)
    weights, offset = [flow(4, 2, 3, 3)], flow(1, 18, 5, 6)
    case("deformconv", "DeformConv", (19,), [x, weights, offset, [flow(4)], flow(1, 9, 5, 6)], pads=[1, 1, 1, 1])
    names = {"group": 2, "offset_group": 2, "pads": [1, 0, 1, 0], "strides": [2, 1], "dilations": [1, 2]}
    case("deformconv_groups", "DeformConv", (19,), [x, [flow(4, 1, 3, 3)], flow(1, 36, 3, 2)], **names)


def blocks():
    x, scales = flow(4, 6), [flow(4, 2, low=0.02, high=0.1)]
    zero_points = [np.array([[1, -3], [0, 2], [5, 1], [-7, 3]], np.int8)]
    case("quantize_blocks", "QuantizeLinear", (21,), [x, scales, zero_points], axis=1, block_size=3)
    q = [generator.integers(-128, 127, (4, 6)).astype(np.int8)]
    case("dequantize_blocks", "DequantizeLinear", (21,), [q, scales, zero_points], axis=1, block_size=3)


def normalizations():
    x, channels = flow(1, 4, 3, 5), [[flow(4, low=0.5)] for _ in range(4)]
    case("batch_norm", "BatchNormalization", (9, 12), [x, *channels], epsilon=1e-3, momentum=0.8)
    case("batch_norm_spatial", "BatchNormalization", (7, 8), [x, *channels], spatial=1)
    case("batch_norm_vectors", "BatchNormalization", (7, 9), [flow(3, 4), *channels])
    case("instance_norm", "InstanceNormalization", (7, 11), [x, *channels[:2]], epsilon=1e-3)
    case("lrn", "LRN", (7, 12), [x], size=3, alpha=0.2, beta=0.6, bias=1.5)
    for name in ("Softmax", "LogSoftmax"):
        for axis in (0, 1, 2, 3):
            case(f"{name.lower()}_{axis}", name, (7, 11, 12), [x], axis=axis)
        case(f"{name.lower()}_default", name, (7, 11), [flow(2, 3, 4)])
        case(f"{name.lower()}_last", name, (11, 12), [flow(2, 3, 4)], axis=-1)


def reductions():
    x = flow(2, 3, 4, 5)
    for name in ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceProd", "ReduceSumSquare", "ReduceLogSumExp"):
        case(f"{name.lower()}_all", name, (7, 11), [x])
        case(f"{name.lower()}_spatial", name, (7, 12), [x], axes=[2, 3], keepdims=0)
        case(f"{name.lower()}_last", name, (11, 12), [x], axes=[-1, 1])


def arrangements():
    x = flow(2, 3, 4, 6)
    case("concat", "Concat", (7, 11), [x, flow(2, 2, 4, 6)], axis=1)
    case("concat_last", "Concat", (11,), [x, flow(2, 3, 4, 1)], axis=-1)
    case("depth_to_space", "DepthToSpace", (7, 11), [flow(1, 8, 2, 3)], blocksize=2)
    case("depth_to_space_columns", "DepthToSpace", (11,), [flow(1, 8, 2, 3)], blocksize=2, mode="CRD")
    case("space_to_depth", "SpaceToDepth", (7,), [flow(1, 2, 4, 6)], blocksize=2)
    case("expand", "Expand", (8,), [flow(3, 1), ints(2, 1, 4)])
    case("tile", "Tile", (7,), [flow(2, 3), ints(2, 3)])
    for axis in (0, 1, 2, 4):
        case(f"flatten_{axis}", "Flatten", (7, 9, 11), [x], axis=axis)
    case("flatten_negative", "Flatten", (11,), [x], axis=-2)
    case("gather", "Gather", (7, 11), [x, ints(2, 0, 2)], axis=1)
    case("gather_negative", "Gather", (11,), [x, ints(-1)], axis=-1)
    case("gather_elements", "GatherElements", (11,), [flow(2, 3), [np.array([[2, 0], [-1, 1]], np.int64)]], axis=1)
    case("pad_attribute", "Pad", (7, 10), [x], pads=[0, 0, 1, 2, 0, 1, 0, 1], value=0.5)
    case("pad_reflect", "Pad", (7,), [x], pads=[0, 0, 1, 2, 0, 0, 2, 1], mode="reflect")
    case("pad_input", "Pad", (11,), [x, ints(0, 0, 1, 2, 0, 1, 0, 1), scalar(0.5)])
    case("pad_wrap", "Pad", (19,), [x, ints(0, 0, 5, 2, 0, 1, 0, 7)], mode="wrap")
    case("pad_edge", "Pad", (7,), [x], pads=[0, 0, 1, 0, 0, 0, 1, 1], mode="edge")
    case("reshape", "Reshape", (7,), [x, ints(0, -1, 6)])
    case("slice_attributes", "Slice", (7, 9), [x], starts=[1, -3], ends=[3, 1000], axes=[1, 3])
    case("slice_all_axes", "Slice", (7,), [x], starts=[0, 1], ends=[1, -1])
    case("slice_inputs", "Slice", (10, 11), [x, ints(5, 0), ints(-(2**31), 4), ints(3, 2), ints(-2, 3)])
    case("split_attribute", "Split", (7, 11), [x], outputs=3, axis=3, split=[1, 2, 3])
    case("split_equal", "Split", (7, 11), [x], outputs=2, axis=2)
    case("squeeze", "Squeeze", (7, 11), [flow(2, 1, 3, 1)], axes=[1, 3])
    case("squeeze_all", "Squeeze", (7, 11), [flow(2, 1, 3, 1)])
    case("squeeze_negative", "Squeeze", (11,), [flow(2, 1, 3, 1)], axes=[-1])
    case("transpose", "Transpose", (7,), [x], perm=[0, 2, 3, 1])
    case("transpose_reversed", "Transpose", (7,), [x])
    case("unsqueeze", "Unsqueeze", (7, 11), [flow(2, 3)], axes=[0, 3])
    case("unsqueeze_negative", "Unsqueeze", (11,), [flow(2, 3)], axes=[-1])
    case("shape", "Shape", (7,), [x])
    case("size", "Size", (7,), [x])


def resizes():
    x, scales = flow(1, 2, 4, 6), [np.array([1, 1, 2, 1.5], np.float32)]
    for mode in ("nearest", "linear"):
        case(f"upsample_attribute_{mode}", "Upsample", (7, 8), [x], mode=mode, scales=[1.0, 1.0, 2.0, 2.0])
        case(f"upsample_input_{mode}", "Upsample", (9,), [x, scales], mode=mode)
        case(f"resize_{mode}", "Resize", (10,), [x, scales], mode=mode)
        for down in (0.5, 0.6, 0.7, 0.3):
            scales_down = [np.array([1, 1, down, down], np.float32)]
            case(f"resize_down_{down}_{mode}", "Resize", (10,), [flow(1, 2, 7, 13), scales_down], mode=mode)
        case(f"resize_both_{mode}", "Resize", (10,), [flow(1, 2, 7, 13), [np.array([1, 1, 0.6, 1.3], np.float32)]], mode=mode)
        case(f"upsample_thirds_{mode}", "Upsample", (9,), [flow(1, 2, 5, 7), [np.array([1, 1, 1.3, 2.7], np.float32)]], mode=mode)
    none = [np.array([], np.float32)]
    for mode in ("nearest", "linear", "cubic"):
        for coordinates in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"):
            names = {"mode": mode, "coordinate_transformation_mode": coordinates}
            case(f"resize_{mode}_{coordinates}", "Resize", (11,), [x, none, scales], **names)
            case(f"resize_to_{mode}_{coordinates}", "Resize", (11,), [x, none, none, ints(1, 2, 3, 9)], **names)
    for nearest in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
        case(f"resize_{nearest}", "Resize", (11,), [x, none, scales], mode="nearest", nearest_mode=nearest)
    crop = [np.array([0, 0, 0.2, -0.3, 1, 1, 0.8, 1.4], np.float32)]
    for mode in ("nearest", "linear", "cubic"):
        names = {"mode": mode, "coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 0.7}
        case(f"resize_crop_{mode}", "Resize", (11,), [x, crop, none, ints(1, 2, 3, 9)], **names)
        case(f"resize_crop_{mode}_one", "Resize", (11,), [x, crop, none, ints(1, 2, 1, 1)], **names)
    for mode in ("linear", "cubic"):
        for outside in (0, 1):
            names = {"mode": mode, "antialias": 1, "exclude_outside": outside}
            case(f"resize_antialias_{mode}_{outside}", "Resize", (18,), [flow(1, 2, 7, 13), "", "", ints(1, 2, 3, 5)], **names)
            case(f"resize_antialias_{mode}_{outside}_grow", "Resize", (18,), [flow(1, 2, 7, 5), "", "", ints(1, 2, 3, 9)], **names)
    case("resize_cubic_outside", "Resize", (11,), [x, none, scales], mode="cubic", cubic_coeff_a=-0.5, exclude_outside=1)


def write(entry, folder, values, session_options):
    name, operator, opset, inputs, outputs, attributes = entry
    names, flowing, initializers = [], [], []
    for index, given in enumerate(inputs):
        names.append("" if isinstance(given, str) else f"x{index}")
        if isinstance(given, list):
            initializers.append(numpy_helper.from_array(given[0], names[-1]))
        elif not isinstance(given, str):
            flowing.append((names[-1], given))
    results = [f"y{index}" for index in range(outputs)]
    node = helper.make_node(operator, names, results, name="node", **attributes)
    declared = [helper.make_tensor_value_info(n, TensorProto.FLOAT, list(a.shape)) for n, a in flowing]
    made = [onnx.ValueInfoProto(name=result) for result in results]
    graph = helper.make_graph([node], name, declared, made, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=4 if opset < 10 else 6 if opset < 15 else 10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), session_options, providers=["CPUExecutionProvider"])
    found = session.run(results, dict(flowing))
    for info, array in zip(model.graph.output, found):
        info.CopyFrom(helper.make_tensor_value_info(info.name, helper.np_dtype_to_tensor_dtype(array.dtype), list(array.shape)))
    onnx.checker.check_model(model)
    (folder / f"{name}.onnx").write_bytes(model.SerializeToString())
    entry = {"name": name, "operators": [("", operator)], "rtol": 1e-4, "atol": 1e-4}
    entry["inputs"] = [values.add(*pair) for pair in flowing]
    entry["outputs"] = [values.add(*pair) for pair in zip(results, found)]
    return entry


def main():
    folder = pathlib.Path(sys.argv[1])
    tables = (activations, functions, arithmetic, convolutions, pools_and_back, normalizations, reductions, arrangements, selections, resizes)
    for table in (*tables, cells, samples, blocks):
        table()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    with open(folder / "values.bin", "wb") as file:
        values = Values(file)
        cases = [write(entry, folder, values, options) for entry in CASES]
    (folder / "cases.json").write_text(json.dumps(cases))


if __name__ == "__main__":
    main()
