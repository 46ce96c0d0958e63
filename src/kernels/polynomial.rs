//! Functions as polynomials, in a form that vectorizes.

/// Adding it to a small number leaves that number rounded to an integer in the low bits.
const ROUNDER: f32 = 12_582_912.0;

/// eˣ for −87 ≤ x ≤ 88, within two units in the last place; outside, the value at the nearer end.
/// Cody–Waite reduction and the polynomial of Cephes `expf`.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUNDER;
    let whole = shifted - ROUNDER;
    let rest = (x - whole * 0.693_359_4) + whole * 2.121_944_4e-4;
    let mut power = 1.987_569_1e-4;
    for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        power = power * rest + coefficient;
    }
    let exponent = shifted.to_bits().wrapping_sub(ROUNDER.to_bits()).wrapping_add(127);
    (power * rest * rest + rest + 1.0) * f32::from_bits(exponent << 23)
}

/// Σ coefficients · xⁿ, highest power first.
#[inline(always)]
pub fn polynomial(x: f32, coefficients: &[f32]) -> f32 {
    coefficients.iter().fold(0.0, |sum, coefficient| sum * x + coefficient)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_agrees_with_the_standard_library() {
        for step in -8700..=8800 {
            let x = step as f32 * 0.01;
            let (got, wanted) = (exp(x), x.exp());
            assert!((got - wanted).abs() <= 3e-7 * wanted, "exp({x}) = {got}, not {wanted}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NAN).is_nan());
    }
}
