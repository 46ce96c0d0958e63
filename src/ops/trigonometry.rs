//! Circular and hyperbolic functions beyond Sin, Cos and Tanh, and their inverses.

use super::unary::{Function, function};
use crate::kernels::elementwise::Elementwise;

function!(/** Inverse of the cosine, in radians. */ Acos, |x| x.acos(), |x, _| -1.0 / (1.0 - x * x).sqrt());
function!(/** Inverse of the hyperbolic cosine. */ Acosh, |x| x.acosh(), |x, _| 1.0 / (x * x - 1.0).sqrt());
function!(/** Inverse of the sine, in radians. */ Asin, |x| x.asin(), |x, _| 1.0 / (1.0 - x * x).sqrt());
function!(/** Inverse of the hyperbolic sine. */ Asinh, |x| x.asinh(), |x, _| 1.0 / (x * x + 1.0).sqrt());
function!(/** Inverse of the tangent, in radians. */ Atan, |x| x.atan(), |x, _| 1.0 / (1.0 + x * x));
function!(/** Inverse of the hyperbolic tangent. */ Atanh, |x| x.atanh(), |x, _| 1.0 / (1.0 - x * x));
function!(/** Hyperbolic cosine. */ Cosh, |x| x.cosh(), |x, _| x.sinh());
function!(/** Hyperbolic sine. */ Sinh, |x| x.sinh(), |x, _| x.cosh());
function!(/** Tangent of an angle in radians. */ Tan, |x| x.tan(), |x, _| 1.0 + x.tan().powi(2));
