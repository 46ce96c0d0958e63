//! Operators that map each element by itself.

use super::attributes::Attributes;
use super::operator::{BackwardCall, Fact, Facts, Implementation, Kernel, Operator, QuantizationRole, Refusal, Site};
use super::{NodeForm, Parsed};
use crate::kernels::Isa;

/// A scalar function with its derivative.
trait Function: Copy + Send + Sync + 'static {
    fn value(&self, x: f32) -> f32;
    /// Derivative at `x`, where the value is `y`.
    fn slope(&self, x: f32, y: f32) -> f32;
}

struct UnaryKernel<F> {
    function: F,
    isa: Isa,
}

impl<F: Function> Kernel for UnaryKernel<F> {
    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        self.isa.run(|| apply(&self.function, inputs[0], output));
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let Some(Some(gradient)) = call.input_gradients.first_mut() else { return };
        let (x, y, g) = (call.inputs[0], call.output, call.output_gradient);
        let target = gradient.open();
        self.isa.run(|| apply_slope(&self.function, x, y, g, target));
    }

    fn backward_needs_output(&self) -> bool {
        true
    }
}

#[inline(always)]
fn apply<F: Function>(function: &F, x: &[f32], y: &mut [f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = function.value(*x);
    }
}

#[inline(always)]
fn apply_slope<F: Function>(function: &F, x: &[f32], y: &[f32], g: &[f32], target: &mut [f32]) {
    for (((t, x), y), g) in target.iter_mut().zip(x).zip(y).zip(g) {
        *t += g * function.slope(*x, *y);
    }
}

fn same_as_input(inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
    let x = inputs.required(0)?;
    Ok(vec![Fact::new(x.data_type, x.shape.clone())])
}

macro_rules! unary {
    ($(#[$doc:meta])* $name:ident { $($field:ident : $default:expr),* }, $role:ident, |$self:ident, $x:ident| $value:expr, |$y:ident| $slope:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name { $(pub $field: f32),* }

        impl $name {
            /// # Errors
            /// If an attribute is wrong or unknown.
            pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
                #[allow(unused_mut)]
                let mut attributes = form.attributes;
                attributes.0.remove("consumed_inputs");
                let operator = $name { $($field: attributes.take_float(stringify!($field), $default)?),* };
                attributes.finish()?;
                Ok(Parsed::plain(operator))
            }
        }

        impl Function for $name {
            #[inline(always)]
            fn value(&self, $x: f32) -> f32 { let $self = self; let _ = $self; $value }
            #[inline(always)]
            fn slope(&self, $x: f32, $y: f32) -> f32 { let $self = self; let _ = ($self, $x, $y); $slope }
        }

        impl Operator for $name {
            fn name(&self) -> &str { stringify!($name) }
            fn attributes(&self) -> Attributes { Attributes::default()$(.float(stringify!($field), self.$field))* }
            fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> { same_as_input(inputs) }
            fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
                Ok(Implementation::Compute(Box::new(UnaryKernel { function: *self, isa: site.isa })))
            }
            fn quantization_role(&self) -> QuantizationRole { QuantizationRole::$role }
        }
    };
}

unary!(/** max(x, 0); derivative 0 at 0. */ Relu {}, Activation, |s, x| if x > 0.0 { x } else { 0.0 }, |y| if x > 0.0 { 1.0 } else { 0.0 });
unary!(/** x, or alpha·x below 0. */ LeakyRelu { alpha: 0.01 }, Function, |s, x| if x >= 0.0 { x } else { s.alpha * x }, |y| if x >= 0.0 { 1.0 } else { s.alpha });
unary!(/** 1 / (1 + e⁻ˣ). */ Sigmoid {}, Function, |s, x| 1.0 / (1.0 + (-x).exp()), |y| y * (1.0 - y));
unary!(/** max(0, min(1, alpha·x + beta)). */ HardSigmoid { alpha: 0.2, beta: 0.5 }, Float,
    |s, x| (s.alpha * x + s.beta).clamp(0.0, 1.0), |y| if y > 0.0 && y < 1.0 { s.alpha } else { 0.0 });
unary!(/** x · max(0, min(1, x/6 + 1/2)). */ HardSwish {}, Float,
    |s, x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0), |y| if x <= -3.0 { 0.0 } else if x >= 3.0 { 1.0 } else { x / 3.0 + 0.5 });
unary!(/** Hyperbolic tangent. */ Tanh {}, Float, |s, x| x.tanh(), |y| 1.0 - y * y);
unary!(/** x, or alpha·(eˣ − 1) below 0. */ Elu { alpha: 1.0 }, Float, |s, x| if x >= 0.0 { x } else { s.alpha * (x.exp() - 1.0) }, |y| if x >= 0.0 { 1.0 } else { y + s.alpha });
unary!(/** eˣ. */ Exp {}, Float, |s, x| x.exp(), |y| y);
unary!(/** √x. */ Sqrt {}, Float, |s, x| x.sqrt(), |y| 0.5 / y);
unary!(/** Natural logarithm. */ Log {}, Float, |s, x| x.ln(), |y| 1.0 / x);
unary!(/** −x. */ Neg {}, Float, |s, x| -x, |y| -1.0);
unary!(/** |x|. */ Abs {}, Float, |s, x| x.abs(), |y| if x > 0.0 { 1.0 } else if x < 0.0 { -1.0 } else { 0.0 });
unary!(/** 1 / x. */ Reciprocal {}, Float, |s, x| 1.0 / x, |y| -y * y);
unary!(/** ln(1 + eˣ). */ Softplus {}, Float, |s, x| x.max(0.0) + (-x.abs()).exp().ln_1p(), |y| 1.0 / (1.0 + (-x).exp()));
unary!(/** Largest integer not above x; derivative 0. */ Floor {}, Float, |s, x| x.floor(), |y| 0.0);
unary!(/** Smallest integer not below x; derivative 0. */ Ceil {}, Float, |s, x| x.ceil(), |y| 0.0);
