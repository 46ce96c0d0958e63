//! Functions of single elements.

use std::f64::consts::{FRAC_2_SQRT_PI, SQRT_2};

use candle_core::{Result, Tensor};

use super::step::{Call, Step, align, fit, mask, required};
use crate::graph::{Graph, Node};
use crate::kernels::variadic::Fold;
use crate::ops;
use crate::tensor::TensorData;

type Value = fn(&Tensor, [f64; 2]) -> Result<Tensor>;
/// Derivative at x, where the value is y.
type Slope = fn(&Tensor, &Tensor, [f64; 2]) -> Result<Tensor>;

/// A function of input 0 with up to two constants.
struct Unary {
    constants: [f64; 2],
    value: Value,
    slope: Slope,
}

impl Step for Unary {
    fn forward(&self, inputs: &[Option<Tensor>]) -> Result<Tensor> {
        (self.value)(required(inputs, 0)?, self.constants)
    }

    fn backward(&self, call: &Call<'_>) -> Result<Vec<Option<Tensor>>> {
        let slope = (self.slope)(required(call.inputs, 0)?, call.output, self.constants)?;
        Ok(vec![Some((slope * call.gradient)?)])
    }
}

#[derive(Clone, Copy)]
enum Arithmetic {
    Add,
    Sub,
    Mul,
    Div,
    /// a where a ≥ 0, else a · b.
    PRelu,
}

/// A function of two inputs that broadcast to each other.
struct Binary(Arithmetic);

impl Step for Binary {
    fn forward(&self, inputs: &[Option<Tensor>]) -> Result<Tensor> {
        let (a, b) = both(inputs)?;
        match self.0 {
            Arithmetic::Add => a.broadcast_add(&b),
            Arithmetic::Sub => a.broadcast_sub(&b),
            Arithmetic::Mul => a.broadcast_mul(&b),
            Arithmetic::Div => a.broadcast_div(&b),
            Arithmetic::PRelu => a.relu()? - a.neg()?.relu()?.broadcast_mul(&b)?,
        }
    }

    fn backward(&self, call: &Call<'_>) -> Result<Vec<Option<Tensor>>> {
        let (a, b) = both(call.inputs)?;
        let g = call.gradient;
        let first = || match self.0 {
            Arithmetic::Add | Arithmetic::Sub => Ok(g.clone()),
            Arithmetic::Mul => g.broadcast_mul(&b),
            Arithmetic::Div => g.broadcast_div(&b),
            Arithmetic::PRelu => g * (mask(a.ge(0.0))? + mask(a.lt(0.0))?.broadcast_mul(&b)?)?,
        };
        let second = || match self.0 {
            Arithmetic::Add => Ok(g.clone()),
            Arithmetic::Sub => g.neg(),
            Arithmetic::Mul => g.broadcast_mul(&a),
            Arithmetic::Div => (g * call.output)?.broadcast_div(&b)?.neg(),
            Arithmetic::PRelu => (g * a.minimum(0.0)?)?.contiguous(),
        };
        let of = |index: usize, gradient: &dyn Fn() -> Result<Tensor>| -> Result<Option<Tensor>> {
            if call.wants(index) { Ok(Some(fit(&gradient()?, required(call.inputs, index)?)?)) } else { Ok(None) }
        };
        Ok(vec![of(0, &first)?, of(1, &second)?])
    }
}

/// All inputs, broadcast to each other, folded into one.
struct Folded(Fold);

impl Folded {
    fn fold(&self, inputs: &[Tensor]) -> Result<Tensor> {
        let [first, others @ ..] = inputs else { candle_core::bail!("it has no input") };
        let combine = |sum: Tensor, x: &Tensor| match self.0 {
            Fold::Sum => sum.broadcast_add(x),
            Fold::Max => sum.broadcast_maximum(x),
            Fold::Min => sum.broadcast_minimum(x),
        };
        others.iter().try_fold(first.clone(), combine)
    }
}

fn aligned(inputs: &[Option<Tensor>]) -> Result<Vec<Tensor>> {
    let rank = inputs.iter().flatten().map(Tensor::rank).max().unwrap_or(0);
    inputs.iter().flatten().map(|x| align(x, rank)).collect()
}

impl Step for Folded {
    fn forward(&self, inputs: &[Option<Tensor>]) -> Result<Tensor> {
        self.fold(&aligned(inputs)?)
    }

    fn backward(&self, call: &Call<'_>) -> Result<Vec<Option<Tensor>>> {
        let (mut left, mut found) = (call.gradient.clone(), Vec::with_capacity(call.inputs.len()));
        for (index, x) in aligned(call.inputs)?.iter().enumerate() {
            let taken = match self.0 {
                Fold::Sum => left.clone(),
                // Of several equal inputs the first takes the gradient.
                Fold::Max | Fold::Min => (mask(call.output.broadcast_eq(x))? * &left)?,
            };
            if self.0 != Fold::Sum {
                left = (left - &taken)?;
            }
            found.push(if call.wants(index) { Some(fit(&taken, required(call.inputs, index)?)?) } else { None });
        }
        Ok(found)
    }
}

fn both(inputs: &[Option<Tensor>]) -> Result<(Tensor, Tensor)> {
    let (a, b) = (required(inputs, 0)?, required(inputs, 1)?);
    let rank = a.rank().max(b.rank());
    Ok((align(a, rank)?, align(b, rank)?))
}

/// The step of `node`, if it is one of these functions.
pub(super) fn find(graph: &Graph, node: &Node) -> Option<Box<dyn Step>> {
    let arithmetic = match node.operator.name() {
        "Add" => Arithmetic::Add,
        "Sub" => Arithmetic::Sub,
        "Mul" => Arithmetic::Mul,
        "Div" => Arithmetic::Div,
        "PRelu" => Arithmetic::PRelu,
        "Sum" => return Some(Box::new(Folded(Fold::Sum))),
        "Max" => return Some(Box::new(Folded(Fold::Max))),
        "Min" => return Some(Box::new(Folded(Fold::Min))),
        _ => return unary(graph, node).map(|unary| Box::new(unary) as Box<dyn Step>),
    };
    Some(Box::new(Binary(arithmetic)))
}

fn unary(graph: &Graph, node: &Node) -> Option<Unary> {
    let plain = |value: Value, slope: Slope| Some(Unary { constants: [0.0; 2], value, slope });
    if let Some(leaky) = node.is::<ops::LeakyRelu>() {
        return Some(Unary { constants: [leaky.alpha.into(), 0.0], value: leaky_relu, slope: leaky_relu_slope });
    }
    if let Some(elu) = node.is::<ops::Elu>() {
        let value: Value = |x, [alpha, _]| x.relu()? + ((x.minimum(0.0)?.exp()? - 1.0)? * alpha)?;
        let slope: Slope = |x, y, [alpha, _]| mask(x.ge(0.0))? + (mask(x.lt(0.0))? * (y + alpha)?)?;
        return Some(Unary { constants: [elu.alpha.into(), 0.0], value, slope });
    }
    match node.operator.name() {
        "Relu" => plain(|x, _| x.relu(), |_, y, _| mask(y.gt(0.0))),
        "Clip" => clip(graph, node),
        "Sigmoid" => plain(|x, _| sigmoid(x), |_, y, _| y * (1.0 - y)?),
        "HardSigmoid" => hard_sigmoid(node),
        "HardSwish" => plain(|x, _| x * gate(x)?, |x, _, _| gate(x)? + ((x / 6.0)? * mask(x.abs()?.lt(3.0))?)?),
        "Tanh" => plain(|x, _| x.tanh(), |_, y, _| 1.0 - y.sqr()?),
        "Exp" => plain(|x, _| x.exp(), |_, y, _| Ok(y.clone())),
        "Log" => plain(|x, _| x.log(), |x, _, _| x.recip()),
        "Sqrt" => plain(|x, _| x.sqrt(), |_, y, _| 0.5 / y),
        "Abs" => plain(|x, _| x.abs(), |x, _, _| mask(x.gt(0.0))? - mask(x.lt(0.0))?),
        "Neg" => plain(|x, _| x.neg(), |x, _, _| x.affine(0.0, -1.0)),
        "Erf" => plain(|x, _| x.erf(), |x, _, _| x.sqr()?.neg()?.exp()? * FRAC_2_SQRT_PI),
        "Pow" => power(graph, node),
        "Reciprocal" => plain(|x, _| x.recip(), |_, y, _| y.sqr()?.neg()),
        "Sin" => plain(|x, _| x.sin(), |x, _, _| x.cos()),
        "Cos" => plain(|x, _| x.cos(), |x, _, _| x.sin()?.neg()),
        "Softsign" => plain(|x, _| x / (x.abs()? + 1.0)?, |x, _, _| (x.abs()? + 1.0)?.sqr()?.recip()),
        "Softplus" => plain(|x, _| softplus(x), |x, _, _| sigmoid(x)),
        "Mish" => plain(
            |x, _| x * softplus(x)?.tanh()?,
            |x, _, _| {
                let gate = softplus(x)?.tanh()?;
                &gate + ((x * (1.0 - gate.sqr()?)?)? * sigmoid(x)?)?
            },
        ),
        "Identity" => plain(|x, _| Ok(x.clone()), |x, _, _| x.ones_like()),
        "Gelu" => gelu(node.is::<ops::Gelu>()?.tanh),
        _ => None,
    }
}

/// 2 · √(2 / π), of what approximates Φ.
const OUTER: f64 = SQRT_2 * FRAC_2_SQRT_PI;
const CUBIC: f64 = 0.044_715;

/// x · Φ(x), with the distribution function Φ of the normal distribution or its approximation by tanh.
fn gelu(tanh: bool) -> Option<Unary> {
    fn near(x: &Tensor) -> Result<Tensor> {
        sigmoid(&((x + ((x.sqr()? * x)? * CUBIC)?)? * OUTER)?)
    }
    let (value, slope): (Value, Slope) = match tanh {
        true => (
            |x, _| x * near(x)?,
            |x, _, _| {
                let part = near(x)?;
                let density = ((&part * (1.0 - &part)?)? * x.sqr()?.affine(3.0 * CUBIC * OUTER, OUTER)?)?;
                part + (x * density)?
            },
        ),
        false => (
            |x, _| x * normal(x)?,
            |x, _, _| {
                let density = (x.sqr()? * -0.5)?.exp()?.affine(FRAC_2_SQRT_PI / (2.0 * SQRT_2), 0.0)?;
                normal(x)? + (x * density)?
            },
        ),
    };
    Some(Unary { constants: [0.0; 2], value, slope })
}

/// ln(1 + exp(x)), for large x too.
fn softplus(x: &Tensor) -> Result<Tensor> {
    x.relu()? + (x.abs()?.neg()?.exp()? + 1.0)?.log()?
}

fn sigmoid(x: &Tensor) -> Result<Tensor> {
    (x.neg()?.exp()? + 1.0)?.recip()
}

/// The distribution function of the normal distribution.
fn normal(x: &Tensor) -> Result<Tensor> {
    (x / SQRT_2)?.erf()?.affine(0.5, 0.5)
}

/// clamp(x / 6 + 1 / 2) within 0..=1.
fn gate(x: &Tensor) -> Result<Tensor> {
    x.affine(1.0 / 6.0, 0.5)?.clamp(0.0, 1.0)
}

fn leaky_relu(x: &Tensor, [alpha, _]: [f64; 2]) -> Result<Tensor> {
    x.relu()? - (x.neg()?.relu()? * alpha)?
}

fn leaky_relu_slope(x: &Tensor, _: &Tensor, [alpha, _]: [f64; 2]) -> Result<Tensor> {
    mask(x.ge(0.0))?.affine(1.0 - alpha, alpha)
}

fn clip(graph: &Graph, node: &Node) -> Option<Unary> {
    let bound = |index: usize, open: f64| match node.input(index) {
        Some(value) => graph.constant(value).and_then(TensorData::to_f32)?.first().map(|bound| f64::from(*bound)),
        None => Some(open),
    };
    let constants = [bound(1, f64::NEG_INFINITY)?, bound(2, f64::INFINITY)?];
    let slope: Slope = |x, _, [low, high]| mask(x.gt(low))? * mask(x.lt(high))?;
    Some(Unary { constants, value: |x, [low, high]| x.clamp(low, high), slope })
}

/// With one exponent for all, which is known.
fn power(graph: &Graph, node: &Node) -> Option<Unary> {
    let exponents = graph.constant(node.input(1)?)?;
    let [exponent] = exponents.to_f32()?[..] else { return None };
    let value: Value = |x, [exponent, _]| if exponent == 2.0 { x.sqr() } else { x.powf(exponent) };
    let slope: Slope = |x, _, [exponent, _]| if exponent == 2.0 { x * 2.0 } else { x.powf(exponent - 1.0)? * exponent };
    Some(Unary { constants: [exponent.into(), 0.0], value, slope })
}

fn hard_sigmoid(node: &Node) -> Option<Unary> {
    let hard = node.is::<ops::HardSigmoid>()?;
    let constants = [hard.alpha.into(), hard.beta.into()];
    let slope: Slope = |_, y, [alpha, _]| (mask(y.gt(0.0))? * mask(y.lt(1.0))?)? * alpha;
    Some(Unary { constants, value: |x, [alpha, beta]| x.affine(alpha, beta)?.clamp(0.0, 1.0), slope })
}
