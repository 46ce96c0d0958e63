//! Values between the elements of a grid: which elements a position mixes, and how the mix changes with the position.

/// What stands beyond the elements of one dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outside {
    Zeros,
    /// The last element.
    Border,
    /// The elements mirrored: at the centres of the last ones, or else at their outer edges.
    Reflection {
        at_centres: bool,
    },
}

impl Outside {
    /// A position within the elements, and its derivative with respect to `position`.
    fn settle(self, position: f32, size: usize) -> (f32, f32) {
        let last = size as f32 - 1.0;
        let (low, high) = self.borders(size);
        match self {
            _ if (low..=high).contains(&position) => (position, 1.0),
            Outside::Zeros => (position, 1.0),
            Outside::Border => (position.clamp(0.0, last), 0.0),
            Outside::Reflection { .. } => reflect(position, low, high),
        }
    }

    fn borders(self, size: usize) -> (f32, f32) {
        let last = size as f32 - 1.0;
        if self == (Outside::Reflection { at_centres: true }) { (0.0, last) } else { (-0.5, last + 0.5) }
    }

    /// The element that stands at `index`.
    fn element(self, index: f32, size: usize) -> Option<usize> {
        let last = size as f32 - 1.0;
        match self {
            _ if (0.0..=last).contains(&index) => Some(index as usize),
            Outside::Zeros => None,
            Outside::Border => Some(index.clamp(0.0, last) as usize),
            Outside::Reflection { .. } => {
                let (low, high) = self.borders(size);
                Some(reflect(index, low, high).0.clamp(0.0, last) as usize)
            }
        }
    }
}

/// `position` mirrored at `low` and `high` until it lies between them, and whether it runs forth (1) or back (−1) there.
fn reflect(position: f32, low: f32, high: f32) -> (f32, f32) {
    let range = high - low;
    if range <= 0.0 || !position.is_finite() {
        return (low.max(0.0), 0.0);
    }
    let turned = (position - low).rem_euclid(2.0 * range);
    if turned <= range { (low + turned, 1.0) } else { (high - (turned - range), -1.0) }
}

/// One element of a mix along one dimension.
#[derive(Clone, Copy, Debug, Default)]
struct Tap {
    /// `None`: a zero stands there.
    element: Option<usize>,
    weight: f32,
    /// Derivative of the weight with respect to the position.
    slope: f32,
}

/// What a position mixes along one dimension.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taps {
    list: [Tap; 4],
    count: usize,
}

/// How a value between elements is made of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpolation {
    Nearest,
    Linear,
    /// By cubic polynomials of coefficient −0.75.
    Cubic,
}

impl Taps {
    /// For `position` along a dimension of `size` elements, element i standing at i.
    pub fn new(interpolation: Interpolation, position: f32, size: usize, outside: Outside) -> Self {
        let position = if interpolation == Interpolation::Nearest { position.round_ties_even() } else { position };
        // Cubic mixes reach for elements beyond the ends one by one, as PyTorch and ONNX Runtime do.
        let (position, turn) = if interpolation == Interpolation::Cubic { (position, 1.0) } else { outside.settle(position, size) };
        let low = position.floor();
        let part = position - low;
        let mut taps = Taps::default();
        let mut add = |offset: f32, weight: f32, slope: f32| {
            let tap = Tap { element: outside.element(low + offset, size), weight, slope: slope * turn };
            taps.list[taps.count] = tap;
            taps.count += 1;
        };
        match interpolation {
            Interpolation::Nearest => add(0.0, 1.0, 0.0),
            Interpolation::Linear => {
                add(0.0, 1.0 - part, -1.0);
                add(1.0, part, 1.0);
            }
            Interpolation::Cubic => {
                for offset in [-1.0, 0.0, 1.0, 2.0] {
                    let (weight, slope) = cubic(part - offset);
                    add(offset, weight, slope);
                }
            }
        }
        taps
    }

    fn iter(&self) -> impl Iterator<Item = &Tap> {
        self.list[..self.count].iter()
    }
}

/// The weight of an element at `distance`, and its derivative.
/// Formula: Keys 1981, "Cubic convolution interpolation for digital image processing".
fn cubic(distance: f32) -> (f32, f32) {
    const A: f32 = -0.75;
    let t = distance.abs();
    let (weight, slope) = if t <= 1.0 {
        (((A + 2.0) * t - (A + 3.0)) * t * t + 1.0, (3.0 * (A + 2.0) * t - 2.0 * (A + 3.0)) * t)
    } else {
        (((A * t - 5.0 * A) * t + 8.0 * A) * t - 4.0 * A, (3.0 * A * t - 10.0 * A) * t + 8.0 * A)
    };
    (weight, slope * distance.signum())
}

/// One element of a mix over all dimensions.
#[derive(Clone, Copy, Debug)]
pub struct Corner {
    /// Row-major.
    pub place: usize,
    pub weight: f32,
    /// Derivatives of the weight with respect to the position along each dimension.
    pub slopes: [f32; 3],
}

/// The elements of a row-major grid of `sizes` that a position mixes, whose taps along each dimension are `taps`.
pub fn cross(taps: &[Taps], sizes: &[usize], corners: &mut Vec<Corner>) {
    corners.clear();
    corners.push(Corner { place: 0, weight: 1.0, slopes: [0.0; 3] });
    for (dim, (taps, size)) in taps.iter().zip(sizes).enumerate() {
        let found = corners.len();
        for at in 0..found {
            let corner = corners[at];
            for tap in taps.iter() {
                let Some(element) = tap.element else { continue };
                let mut slopes = corner.slopes.map(|slope| slope * tap.weight);
                slopes[dim] = corner.weight * tap.slope;
                corners.push(Corner { place: corner.place * size + element, weight: corner.weight * tap.weight, slopes });
            }
        }
        corners.drain(..found);
    }
}

/// The mix of the elements of `plane`.
pub fn mix(corners: &[Corner], plane: &[f32]) -> f32 {
    corners.iter().map(|corner| plane[corner.place] * corner.weight).sum()
}

/// The derivative of the mix with respect to the position along dimension `dim`.
pub fn slope(corners: &[Corner], plane: &[f32], dim: usize) -> f32 {
    corners.iter().map(|corner| plane[corner.place] * corner.slopes[dim]).sum()
}

/// Adds `gradient` to the elements of `plane` as they went into the mix.
pub fn spread(corners: &[Corner], gradient: f32, plane: &mut [f32]) {
    corners.iter().for_each(|corner| plane[corner.place] += gradient * corner.weight);
}
