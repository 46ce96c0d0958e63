//! What operators cost in ONNX Runtime, in nanoseconds; written by `benches/runtime_costs.py`.
//!
//! 2026-11-21, ONNX Runtime 1.31.1, 2 threads, batch 1.
//! Intel(R) Xeon(R) Processor (family 6, model 167; avx512_vnni, amx_int8).
//!
//! Rows of stem, line and line_depthwise: 2026-12-01, ONNX Runtime 1.31.1, 2 threads, batch 1.
//! AMD EPYC (family 25, model 17; avx512_vnni).

use crate::quantization::costs::{Cost, RuntimeCosts};

pub static ORT_CPU_COSTS: RuntimeCosts = RuntimeCosts {
    float_depthwise: Cost { node: 2870.6, mac: 0.01359, element: 0.0000, position: 0.014, window: 0.000 },
    integer_depthwise: Cost { node: 3833.0, mac: 0.02329, element: 0.0000, position: 3.951, window: 0.000 },
    float_wide_depthwise: Cost { node: 3687.5, mac: 0.01012, element: 0.0000, position: 0.000, window: 0.000 },
    integer_wide_depthwise: Cost { node: 6091.6, mac: 0.01681, element: 0.0000, position: 13.526, window: 0.000 },
    float_uneven_depthwise: Cost { node: 2575.5, mac: 0.01657, element: 0.0000, position: 0.000, window: 0.000 },
    integer_uneven_depthwise: Cost { node: 4363.0, mac: 0.05837, element: 0.0000, position: 2.313, window: 0.000 },
    float_uneven_wide_depthwise: Cost { node: 3119.9, mac: 0.01136, element: 0.0000, position: 0.000, window: 0.000 },
    integer_uneven_wide_depthwise: Cost { node: 4680.2, mac: 0.04852, element: 0.0000, position: 9.388, window: 0.000 },
    float_pointwise: Cost { node: 3006.9, mac: 0.00830, element: 0.0000, position: 0.783, window: 0.000 },
    integer_pointwise: Cost { node: 2348.7, mac: 0.00187, element: 0.0018, position: 2.501, window: 0.000 },
    float_spatial: Cost { node: 5927.2, mac: 0.00860, element: 0.0000, position: 0.000, window: 0.000 },
    integer_spatial: Cost { node: 5848.4, mac: 0.00161, element: 0.0000, position: 4.025, window: 0.000 },
    float_stem: Cost { node: 5439.7, mac: 0.00978, element: 0.0487, position: 0.000, window: 0.000 },
    integer_stem: Cost { node: 10818.1, mac: 0.00275, element: 0.2024, position: 6.794, window: 0.260 },
    float_line: Cost { node: 3379.9, mac: 0.01999, element: 0.1879, position: 0.000, window: 0.169 },
    integer_line: Cost { node: 1240.6, mac: 0.00354, element: 0.2965, position: 7.993, window: 0.220 },
    float_line_depthwise: Cost { node: 6608.2, mac: 0.06897, element: 0.0000, position: 0.000, window: 0.000 },
    integer_line_depthwise: Cost { node: 2544.2, mac: 0.02886, element: 0.0000, position: 2.895, window: 0.000 },
    float_function: Cost { node: 188.8, mac: 0.00000, element: 0.0093, position: 1.062, window: 0.000 },
    integer_function: Cost { node: 1304.0, mac: 0.00000, element: 0.2467, position: 0.000, window: 0.000 },
    float_pool: Cost { node: 2396.6, mac: 0.00000, element: 0.1365, position: 0.000, window: 0.000 },
    integer_pool: Cost { node: 124.5, mac: 0.00000, element: 0.2567, position: 12.831, window: 0.000 },
    float_addition: Cost { node: 0.0, mac: 0.00000, element: 0.1803, position: 0.000, window: 0.000 },
    integer_addition: Cost { node: 1168.3, mac: 0.00000, element: 0.1545, position: 0.000, window: 0.000 },
    float_concatenation: Cost { node: 7963.0, mac: 0.00000, element: 0.1135, position: 8.131, window: 0.000 },
    integer_concatenation: Cost { node: 4301.4, mac: 0.00000, element: 0.0000, position: 5.333, window: 0.000 },
    border: Cost { node: 1989.2, mac: 0.00000, element: 1.0982, position: 1.900, window: 0.000 },
};
