//! MaxPool.

use super::operator::{Fact, Facts, Implementation, Layout, Operator, QuantizationRole, Refusal, Site};
use super::{Attributes, NodeForm, Parsed, Window};
use crate::kernels::pool::{PoolIndices, Pooling};
use crate::tensor::DataType;

/// Largest element under a sliding window; of equal ones the first takes the gradient. The second output tells where among all
/// elements of the input it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct MaxPool {
    pub window: Window,
    /// Whether the second output counts the elements of each channel with the first spatial dimension the fastest.
    pub column_major: bool,
}

/// # Errors
/// If an attribute is wrong or not supported.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    let NodeForm { mut attributes, .. } = form;
    let column_major = attributes.take_int("storage_order", 0)? != 0;
    let window = Window::take(&mut attributes)?;
    attributes.finish()?;
    Ok(Parsed::plain(MaxPool { window, column_major }))
}

impl MaxPool {
    /// The number of each element of `input`, by its place in memory.
    fn numbers(&self, input: &Layout) -> Vec<u32> {
        let mut order: Vec<usize> = (0..input.shape.len()).collect();
        if self.column_major {
            order[2..].reverse();
        }
        let numbers = Layout::ordered(&input.shape, &order).offsets();
        let mut by_place = vec![0; numbers.len()];
        input.offsets().into_iter().zip(numbers).for_each(|(place, number)| by_place[place] = number as u32);
        by_place
    }
}

impl Operator for MaxPool {
    fn name(&self) -> &str {
        "MaxPool"
    }

    fn attributes(&self) -> Attributes {
        let attributes = self.window.attributes();
        if self.column_major { attributes.int("storage_order", 1) } else { attributes }
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let mut outputs = self.window.infer(inputs)?;
        outputs.push(Fact::new(DataType::I64, outputs[0].shape.clone()));
        Ok(outputs)
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let Some(indices) = site.output(1) else { return self.window.implement(site, Pooling::Max) };
        let kernel = |layout: &Layout| self.window.kernel(site, layout, Pooling::Max);
        let numbers = self.numbers(&site.required(0)?.layout);
        let largest = kernel(site.output(0).unwrap_or(indices))?;
        Ok(Implementation::Several(vec![Box::new(largest), Box::new(PoolIndices { pool: kernel(indices)?, numbers })]))
    }

    fn quantization_role(&self) -> QuantizationRole {
        QuantizationRole::PassThrough
    }
}
