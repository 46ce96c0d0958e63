//! How numbers follow their directions.

use crate::ops::SoftRound;

/// How every one of some numbers follows the direction that Adam gives it. `T` holds one number for each, or for each of one
/// sample where there are several.
#[derive(Clone, Copy, Debug)]
pub enum Motion<T> {
    /// x − rate · direction.
    Free,
    /// x − rate · unit · direction.
    InUnits(T),
    /// x − rate · (high − low) · direction, within low..=high.
    Within { low: T, high: T },
    /// x · (1 − rate · direction), between half and twice of x, and at most `most`.
    Multiply { most: f32 },
    /// x + rate · (push − direction), where x is the variable of a [`SoftRound`].
    Round(Push),
}

impl<T> Motion<T> {
    /// The same with other holders.
    pub fn map<'a, U>(&'a self, of: impl Fn(&'a T) -> U) -> Motion<U> {
        match self {
            Motion::Free => Motion::Free,
            Motion::InUnits(unit) => Motion::InUnits(of(unit)),
            Motion::Within { low, high } => Motion::Within { low: of(low), high: of(high) },
            Motion::Multiply { most } => Motion::Multiply { most: *most },
            Motion::Round(push) => Motion::Round(*push),
        }
    }

    /// Pushes variables of soft rounding like this from now on.
    pub fn push(&mut self, new: Push) {
        if let Motion::Round(push) = self {
            *push = new;
        }
    }
}

/// What drives soft rounding to a level: the slope of |2h − 1|^β. Where AdaRound adds this to the loss, here it stands beside
/// Adam's direction, whose size is 1, so that it needs no weight of its own.
///
/// Paper: Nagel et al. 2020 (AdaRound), arXiv:2004.10568, eq. 24.
#[derive(Clone, Copy, Debug, Default)]
pub struct Push {
    pub beta: f32,
    pub strength: f32,
}

impl Push {
    pub fn of(self, v: f32) -> f32 {
        let side = 2.0 * SoftRound::part(v) - 1.0;
        self.strength * side.signum() * side.abs().powf(self.beta - 1.0)
    }
}
