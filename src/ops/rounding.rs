//! Floor, Ceil, Round, Sign and Reciprocal.

use super::unary::{Function, function};
use crate::kernels::elementwise::Elementwise;

function!(/** Largest integer not above x; derivative 0. */ Floor, |x| x.floor(), |_, _| 0.0);
function!(/** Smallest integer not below x; derivative 0. */ Ceil, |x| x.ceil(), |_, _| 0.0);
function!(/** Nearest integer, of two equally near ones the even; derivative 0. */ Round, |x| x.round_ties_even(), |_, _| 0.0);
function!(/** −1, 0 or 1; derivative 0. */ Sign, |x| if x == 0.0 { 0.0 } else { x.signum() }, |_, _| 0.0);
function!(/** 1 / x. */ Reciprocal, |x| 1.0 / x, |_, y| -y * y);
