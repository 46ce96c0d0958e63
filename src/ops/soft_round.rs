//! Rounding that can be learned.

use super::Attributes;
use super::binary;
use super::operator::{Fact, Facts, Implementation, Operator, Refusal, Site};
use crate::kernels::elementwise::Elementwise;
use crate::kernels::polynomial::exp;
use crate::tensor::DataType;

/// q = clamp(base + h(v)) over inputs (base, v), within the range of an integer type. h(v) = clamp(1.2 · sigmoid(v) − 0.1)
/// within 0..=1 chooses between the two levels around a weight; it ends up at one of them. Exists while rounding is
/// learned, never in a file.
///
/// Paper: Nagel et al. 2020 (AdaRound), arXiv:2004.10568, eq. 23.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SoftRound {
    pub data_type: DataType,
}

impl SoftRound {
    /// h(v): how far up a weight is rounded.
    #[inline(always)]
    pub fn part(v: f32) -> f32 {
        (1.2 / (1.0 + exp(-v)) - 0.1).clamp(0.0, 1.0)
    }

    /// The v of which `part`, strictly within 0..1, is the image.
    pub fn variable(part: f32) -> f32 {
        let sigmoid = (part.clamp(0.0, 1.0) + 0.1) / 1.2;
        (sigmoid / (1.0 - sigmoid)).ln()
    }
}

#[derive(Clone, Copy)]
struct Rounding {
    low: f32,
    high: f32,
}

impl Elementwise<2> for Rounding {
    #[inline(always)]
    fn value(&self, [base, v]: [f32; 2]) -> f32 {
        (base + SoftRound::part(v)).clamp(self.low, self.high)
    }

    #[inline(always)]
    fn slope(&self, operand: usize, [base, v]: [f32; 2], _: f32) -> f32 {
        let sigmoid = 1.0 / (1.0 + exp(-v));
        let part = 1.2 * sigmoid - 0.1;
        let level = base + part;
        let inside = level > self.low && level < self.high && part > 0.0 && part < 1.0;
        match (operand, inside) {
            (_, false) => 0.0,
            (0, true) => 1.0,
            (_, true) => 1.2 * sigmoid * (1.0 - sigmoid),
        }
    }
}

impl Operator for SoftRound {
    fn name(&self) -> &str {
        "SoftRound"
    }

    fn domain(&self) -> &str {
        "zeroq"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default()
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        Ok(vec![Fact::new(self.data_type, inputs.required(0)?.shape.clone())])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let (low, high) = self.data_type.integer_range().ok_or("not an integer type")?;
        binary::implement(site, Rounding { low: low as f32, high: high as f32 })
    }
}
