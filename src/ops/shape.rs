//! Operators about shapes and element types.

use super::attributes::{Attribute, Attributes};
use super::broadcast::broadcast;
use super::operator::{BackwardCall, Fact, Facts, Implementation, Kernel, Operand, Operator, QuantizationRole, Refusal, Site};
use super::rearrange::{all_known, sizes};
use super::{NodeForm, Parsed};
use crate::graph::{Dim, known_shape};
use crate::tensor::{DataType, TensorData};

/// The sizes of its input, from dimension `start` to before `end`.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub start: i64,
    pub end: Option<i64>,
}

impl Shape {
    /// # Errors
    /// If an attribute is wrong or unknown.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        let mut attributes = form.attributes;
        let shape = Shape { start: attributes.take_int("start", 0)?, end: attributes.take_optional_int("end")? };
        attributes.finish()?;
        Ok(Parsed::plain(shape))
    }

    /// The dimensions that it lists of an input of rank `rank`.
    pub fn listed(self, rank: usize) -> std::ops::Range<usize> {
        let wrap = |at: i64| (if at < 0 { at + rank as i64 } else { at }).clamp(0, rank as i64) as usize;
        let (start, end) = (wrap(self.start), self.end.map_or(rank, wrap));
        start..end.max(start)
    }
}

impl Operator for Shape {
    fn name(&self) -> &str {
        "Shape"
    }

    fn attributes(&self) -> Attributes {
        let attributes = if self.start == 0 { Attributes::default() } else { Attributes::default().int("start", self.start) };
        match self.end {
            Some(end) => attributes.int("end", end),
            None => attributes,
        }
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let x = inputs.required(0)?;
        let listed = &x.shape[self.listed(x.rank())];
        match known_shape(listed) {
            Some(sizes) => Ok(vec![Fact::of(TensorData::vector(sizes.iter().map(|n| *n as i64).collect()))]),
            None => Ok(vec![Fact::known(DataType::I64, &[listed.len()])]),
        }
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let shape = &site.required(0)?.layout.shape;
        let listed = shape[self.listed(shape.len())].iter().map(|n| *n as i64).collect();
        Ok(Implementation::Constant(vec![TensorData::vector(listed)]))
    }
}

/// The number of elements of its input.
#[derive(Clone, Copy, Debug)]
pub struct Size;

impl Size {
    /// # Errors
    /// If an attribute is unknown.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        form.attributes.finish()?;
        Ok(Parsed::plain(Size))
    }
}

impl Operator for Size {
    fn name(&self) -> &str {
        "Size"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default()
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let x = inputs.required(0)?;
        Ok(vec![match all_known(&x.shape) {
            Ok(sizes) => Fact::of(TensorData::scalar(sizes.iter().product::<usize>() as i64)),
            Err(_) => Fact::known(DataType::I64, &[]),
        }])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        Ok(Implementation::Constant(vec![TensorData::scalar(site.required(0)?.layout.len() as i64)]))
    }
}

/// A tensor of the shape in input 0, filled with one number.
#[derive(Clone, Debug)]
pub struct ConstantOfShape {
    pub value: TensorData,
}

impl ConstantOfShape {
    /// # Errors
    /// If an attribute is wrong or unknown.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        let mut attributes = form.attributes;
        let value = attributes.take_tensor("value")?.unwrap_or_else(|| TensorData::vector(vec![0.0f32]));
        attributes.finish()?;
        if value.len() != 1 || value.to_f64().is_none() {
            return Err("attribute `value` must hold one number".to_string());
        }
        Ok(Parsed::plain(ConstantOfShape { value }))
    }
}

impl Operator for ConstantOfShape {
    fn name(&self) -> &str {
        "ConstantOfShape"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default().with("value", Attribute::Tensor(self.value.clone()))
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let target = inputs.required(0)?;
        let shape = match target.integers() {
            Some(list) => sizes(&list)?.into_iter().map(Dim::Known).collect(),
            None => vec![Dim::Unknown; target.shape.first().and_then(Dim::known).ok_or("the rank of its result is not known")?],
        };
        Ok(vec![Fact::new(self.value.data_type(), shape)])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let shape = sizes(&site.integers(0)?)?;
        let value = self.value.to_f64().and_then(|value| value.first().copied()).ok_or("its value is no number")?;
        let tensor = TensorData::from_f64(&shape, vec![value; shape.iter().product()], self.value.data_type());
        Ok(Implementation::Constant(vec![tensor.ok_or("its value is no number")?]))
    }
}

/// Another element type; the numbers in flight stay f32, floats become integers by truncation.
#[derive(Clone, Copy, Debug)]
pub struct Cast {
    pub to: DataType,
}

/// Like [`Cast`], to the type of input 1.
#[derive(Clone, Copy, Debug)]
pub struct CastLike;

struct CastKernel {
    to_bool: bool,
    truncates: bool,
    range: Option<(f32, f32)>,
}

/// A constant is cast exactly, whatever its type; other numbers as the f32 that they are in flight.
fn cast(from: &Operand, to: DataType) -> Result<Implementation, Refusal> {
    if let DataType::Other(code) = to {
        return Err(format!("casting to element type {code} is not supported"));
    }
    if let Some(tensor) = from.constant.as_ref().and_then(|tensor| tensor.cast(to)) {
        return Ok(Implementation::Constant(vec![tensor]));
    }
    let truncates = from.data_type.is_float() && !to.is_float();
    let range = to.integer_range().map(|(low, high)| (low as f32, high as f32));
    Ok(Implementation::Compute(Box::new(CastKernel { to_bool: to == DataType::Bool, truncates, range })))
}

impl Kernel for CastKernel {
    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        for (y, x) in output.iter_mut().zip(inputs[0]) {
            let x = match (self.to_bool, self.truncates) {
                (true, _) => f32::from(u8::from(*x != 0.0)),
                (false, true) => x.trunc(),
                (false, false) => *x,
            };
            *y = self.range.map_or(x, |(low, high)| x.clamp(low, high));
        }
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        if let Some(Some(gradient)) = call.input_gradients.first_mut() {
            gradient.open().iter_mut().zip(call.output_gradient).for_each(|(t, g)| *t += g);
        }
    }

    fn backward_needs_inputs(&self) -> bool {
        false
    }
}

impl Cast {
    /// # Errors
    /// If an attribute is wrong or unknown.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        let mut attributes = form.attributes;
        let to = attributes.take_int("to", 0)?;
        let _ = attributes.take_int("saturate", 1)?;
        attributes.finish()?;
        Ok(Parsed::plain(Cast { to: DataType::from_code(i32::try_from(to).unwrap_or(0)) }))
    }
}

impl Operator for Cast {
    fn name(&self) -> &str {
        "Cast"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default().int("to", self.to.code().into())
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        Ok(vec![Fact::new(self.to, inputs.required(0)?.shape.clone())])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        cast(site.required(0)?, self.to)
    }
}

impl CastLike {
    /// # Errors
    /// If an attribute is wrong or unknown.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        let mut attributes = form.attributes;
        let _ = attributes.take_int("saturate", 1)?;
        attributes.finish()?;
        Ok(Parsed::plain(CastLike))
    }
}

impl Operator for CastLike {
    fn name(&self) -> &str {
        "CastLike"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default()
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        Ok(vec![Fact::new(inputs.required(1)?.data_type, inputs.required(0)?.shape.clone())])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        cast(site.required(0)?, site.required(1)?.data_type)
    }
}

/// start, start + delta, … before limit.
#[derive(Clone, Copy, Debug)]
pub struct Range;

impl Range {
    /// # Errors
    /// If an attribute is unknown.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        form.attributes.finish()?;
        Ok(Parsed::plain(Range))
    }
}

fn ramp(numbers: [Option<f64>; 3]) -> Result<Vec<f64>, Refusal> {
    let [Some(start), Some(limit), Some(delta)] = numbers else { return Err("its bounds must be constant".to_string()) };
    let count = ((limit - start) / delta).ceil().max(0.0);
    if count.is_nan() || count > f64::from(1 << 24) {
        return Err("its range is too long".to_string());
    }
    Ok((0..count as usize).map(|i| start + i as f64 * delta).collect())
}

impl Operator for Range {
    fn name(&self) -> &str {
        "Range"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default()
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let number = |index: usize| inputs.get(index)?.constant.as_ref()?.to_f64()?.first().copied();
        let len = ramp([number(0), number(1), number(2)]).map_or(Dim::Unknown, |ramp| Dim::Known(ramp.len()));
        Ok(vec![Fact::new(inputs.required(0)?.data_type, vec![len])])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let number = |index: usize| site.get(index)?.constant.as_ref()?.to_f64()?.first().copied();
        let ramp = ramp([number(0), number(1), number(2)])?;
        let tensor = TensorData::from_f64(&[ramp.len()], ramp, site.required(0)?.data_type);
        Ok(Implementation::Constant(vec![tensor.ok_or("its type has no numbers")?]))
    }
}

/// Input 1 where the condition (input 0) holds, else input 2.
#[derive(Clone, Copy, Debug)]
pub struct Where;

impl Where {
    /// # Errors
    /// If an attribute is unknown.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        form.attributes.finish()?;
        Ok(Parsed::plain(Where))
    }
}

struct WhereKernel {
    offsets: [Vec<usize>; 3],
    outputs: Vec<usize>,
}

impl Kernel for WhereKernel {
    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        for (index, to) in self.outputs.iter().enumerate() {
            let pick = if inputs[0][self.offsets[0][index]] != 0.0 { 1 } else { 2 };
            output[*to] = inputs[pick][self.offsets[pick][index]];
        }
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        call.input_gradients.iter_mut().flatten().for_each(|gradient| {
            gradient.open();
        });
        for (index, from) in self.outputs.iter().enumerate() {
            let pick = if call.inputs[0][self.offsets[0][index]] != 0.0 { 1 } else { 2 };
            if let Some(Some(gradient)) = call.input_gradients.get_mut(pick) {
                gradient.values[self.offsets[pick][index]] += call.output_gradient[*from];
            }
        }
    }
}

impl Operator for Where {
    fn name(&self) -> &str {
        "Where"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default()
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let (condition, a, b) = (inputs.required(0)?, inputs.required(1)?, inputs.required(2)?);
        let shape = broadcast(&broadcast(&condition.shape, &a.shape)?, &b.shape)?;
        Ok(vec![Fact::new(a.data_type, shape)])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let output = site.output(0).ok_or("it has no output")?;
        let offsets = |index: usize| site.required(index).map(|input| input.layout.broadcast_offsets(&output.shape));
        let offsets = [offsets(0)?, offsets(1)?, offsets(2)?];
        Ok(Implementation::Compute(Box::new(WhereKernel { offsets, outputs: output.offsets() })))
    }

    fn quantization_role(&self) -> QuantizationRole {
        QuantizationRole::Float
    }
}
