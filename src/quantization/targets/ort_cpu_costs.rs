//! What operators cost in ONNX Runtime, in nanoseconds; written by `benches/runtime_costs.py`.
//!
//! 2026-11-21, ONNX Runtime 1.31.1, 2 threads, batch 1.
//! Intel(R) Xeon(R) Processor (family 6, model 167; avx512_vnni, amx_int8).

use crate::quantization::costs::{Cost, RuntimeCosts};

pub static ORT_CPU_COSTS: RuntimeCosts = RuntimeCosts {
    float_depthwise: Cost { node: 2870.6, mac: 0.01359, element: 0.0000, position: 0.014 },
    integer_depthwise: Cost { node: 3833.0, mac: 0.02329, element: 0.0000, position: 3.951 },
    float_wide_depthwise: Cost { node: 3687.5, mac: 0.01012, element: 0.0000, position: 0.000 },
    integer_wide_depthwise: Cost { node: 6091.6, mac: 0.01681, element: 0.0000, position: 13.526 },
    float_uneven_depthwise: Cost { node: 2575.5, mac: 0.01657, element: 0.0000, position: 0.000 },
    integer_uneven_depthwise: Cost { node: 4363.0, mac: 0.05837, element: 0.0000, position: 2.313 },
    float_uneven_wide_depthwise: Cost { node: 3119.9, mac: 0.01136, element: 0.0000, position: 0.000 },
    integer_uneven_wide_depthwise: Cost { node: 4680.2, mac: 0.04852, element: 0.0000, position: 9.388 },
    float_pointwise: Cost { node: 3006.9, mac: 0.00830, element: 0.0000, position: 0.783 },
    integer_pointwise: Cost { node: 2348.7, mac: 0.00187, element: 0.0018, position: 2.501 },
    float_spatial: Cost { node: 5927.2, mac: 0.00860, element: 0.0000, position: 0.000 },
    integer_spatial: Cost { node: 5848.4, mac: 0.00161, element: 0.0000, position: 4.025 },
    float_stem: Cost { node: 2456.9, mac: 0.00695, element: 0.0000, position: 3.085 },
    integer_stem: Cost { node: 6680.4, mac: 0.01500, element: 0.0000, position: 9.562 },
    float_function: Cost { node: 188.8, mac: 0.00000, element: 0.0093, position: 1.062 },
    integer_function: Cost { node: 1304.0, mac: 0.00000, element: 0.2467, position: 0.000 },
    float_pool: Cost { node: 2396.6, mac: 0.00000, element: 0.1365, position: 0.000 },
    integer_pool: Cost { node: 124.5, mac: 0.00000, element: 0.2567, position: 12.831 },
    float_addition: Cost { node: 0.0, mac: 0.00000, element: 0.1803, position: 0.000 },
    integer_addition: Cost { node: 1168.3, mac: 0.00000, element: 0.1545, position: 0.000 },
    float_concatenation: Cost { node: 7963.0, mac: 0.00000, element: 0.1135, position: 8.131 },
    integer_concatenation: Cost { node: 4301.4, mac: 0.00000, element: 0.0000, position: 5.333 },
    border: Cost { node: 1989.2, mac: 0.00000, element: 1.0982, position: 1.900 },
};
