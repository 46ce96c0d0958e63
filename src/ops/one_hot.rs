//! OneHot and EyeLike.

use super::operator::{BackwardCall, Fact, Facts, Implementation, Kernel, Operator, Refusal, Site};
use super::reordered::row_major;
use super::unary::{output, resolve_axis};
use super::{Attributes, NodeForm, Parsed};
use crate::graph::Dim;
use crate::tensor::{DataType, TensorData};

/// For each index in input 0 a line along `axis`, as long as input 1 says, of the first number of input 2, and its second at the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OneHot {
    pub axis: i64,
}

/// Ones on a diagonal, of the shape of input 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EyeLike {
    /// That of the input if not said.
    pub data_type: Option<DataType>,
    /// How far right of the main diagonal.
    pub shift: i64,
}

impl OneHot {
    /// # Errors
    /// If an attribute is wrong or not known.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        let mut attributes = form.attributes;
        let axis = attributes.take_int("axis", -1)?;
        attributes.finish()?;
        Ok(Parsed::plain(OneHot { axis }))
    }
}

impl EyeLike {
    /// # Errors
    /// If an attribute is wrong or not known.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        let mut attributes = form.attributes;
        let (code, shift) = (attributes.take_optional_int("dtype")?, attributes.take_int("k", 0)?);
        attributes.finish()?;
        let data_type = code.map(|code| DataType::from_code(i32::try_from(code).unwrap_or(0)));
        Ok(Parsed::plain(EyeLike { data_type, shift }))
    }
}

impl Operator for OneHot {
    fn name(&self) -> &str {
        "OneHot"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default().int("axis", self.axis)
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let (indices, depth, values) = (inputs.required(0)?, inputs.required(1)?, inputs.required(2)?);
        let axis = resolve_axis(self.axis, indices.rank() + 1)?;
        let depth = depth.constant.as_ref().and_then(TensorData::to_f64).and_then(|depth| depth.first().copied());
        let depth = match depth {
            Some(depth) if (0.0..1e9).contains(&depth) => Dim::Known(depth as usize),
            Some(depth) => return Err(format!("depth={depth} is out of range")),
            None => Dim::Unknown,
        };
        let mut shape = indices.shape.clone();
        shape.insert(axis, depth);
        Ok(vec![Fact::new(values.data_type, shape)])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let shape = &output(site)?.shape;
        let axis = resolve_axis(self.axis, shape.len())?;
        if site.required(2)?.layout.len() != 2 {
            return Err("its values must be two".to_string());
        }
        let inner = shape[axis + 1..].iter().product();
        Ok(Implementation::Compute(row_major(site, 0, Lit { depth: shape[axis], inner })))
    }
}

struct Lit {
    depth: usize,
    inner: usize,
}

impl Lit {
    /// The place that each index lights.
    fn places(&self, indices: &[f32]) -> impl Iterator<Item = usize> {
        let (depth, inner) = (self.depth as f32, self.inner);
        let place = move |(at, index): (usize, &f32)| {
            let index = index.trunc();
            let index = if index < 0.0 { index + depth } else { index };
            let inside = (0.0..depth).contains(&index);
            inside.then(|| (at / inner * depth as usize + index as usize) * inner + at % inner)
        };
        indices.iter().enumerate().filter_map(place)
    }
}

impl Kernel for Lit {
    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        output.fill(inputs[2][0]);
        self.places(inputs[0]).for_each(|place| output[place] = inputs[2][1]);
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        call.input_gradients.iter_mut().flatten().for_each(|gradient| {
            gradient.open();
        });
        if let Some(Some(gradient)) = call.input_gradients.get_mut(2) {
            let lit: f32 = self.places(call.inputs[0]).map(|place| call.output_gradient[place]).sum();
            gradient.values[0] += call.output_gradient.iter().sum::<f32>() - lit;
            gradient.values[1] += lit;
        }
    }
}

impl Operator for EyeLike {
    fn name(&self) -> &str {
        "EyeLike"
    }

    fn attributes(&self) -> Attributes {
        let attributes = Attributes::default().int("k", self.shift);
        self.data_type.map_or(attributes.clone(), |data_type| attributes.int("dtype", data_type.code().into()))
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let x = inputs.required(0)?;
        if x.rank() != 2 {
            return Err(format!("an input of rank {} is no matrix", x.rank()));
        }
        Ok(vec![Fact::new(self.data_type.unwrap_or(x.data_type), x.shape.clone())])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let x = site.required(0)?;
        let [rows, columns] = x.layout.shape[..] else { return Err("its input is no matrix".to_string()) };
        let is_one = |at: usize| (at % columns) as i64 - (at / columns) as i64 == self.shift;
        let ones = (0..rows * columns).map(|at| f64::from(u8::from(is_one(at)))).collect();
        let tensor = TensorData::from_f64(&[rows, columns], ones, self.data_type.unwrap_or(x.data_type));
        Ok(Implementation::Constant(vec![tensor.ok_or("its type has no numbers")?]))
    }
}
