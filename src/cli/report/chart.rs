//! Where things are drawn: numbers in, coordinates out, which the page's templates put into SVG.

use std::fmt::Write;

use serde::Serialize;

use crate::calibration::histogram::Distribution;
use crate::cli::text::brief;

/// The drawing of a curve, and the part of it within the axes.
pub const CURVE: (f64, f64) = (360.0, 180.0);
const LEFT: f64 = 46.0;
const RIGHT: f64 = 350.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 154.0;

/// The drawing of a distribution.
pub const HISTOGRAM: (f64, f64) = (320.0, 70.0);

/// Values so many times apart are told from each other only on a logarithmic scale.
const WIDE: f64 = 20.0;

/// A mark on an axis.
#[derive(Debug, PartialEq, Serialize)]
pub struct Tick {
    pub at: f64,
    pub label: String,
}

/// A curve within its axes.
#[derive(Debug, PartialEq, Serialize)]
pub struct Line {
    pub path: String,
    pub x: Vec<Tick>,
    pub y: Vec<Tick>,
    pub logarithmic: bool,
}

/// Where numbers lie on a way from 0 to 1.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    low: f64,
    high: f64,
    pub logarithmic: bool,
}

impl Scale {
    /// Of all `values`, logarithmic where they are positive and far apart.
    pub fn of(values: impl Iterator<Item = f64>) -> Self {
        let values = values.filter(|value| value.is_finite());
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        let logarithmic = low > 0.0 && high / low > WIDE;
        if low > high { Scale { low: 0.0, high: 1.0, logarithmic: false } } else { Scale { low, high, logarithmic } }
    }

    /// The same with 0 on it where it is linear, and with room before the smallest number where it is logarithmic: bars
    /// begin there.
    pub fn for_bars(self) -> Self {
        let low = if self.logarithmic { self.low / 2.0 } else { self.low.min(0.0) };
        Scale { low, ..self }
    }

    pub fn part(&self, value: f64) -> f64 {
        let bend = |x: f64| if self.logarithmic { x.max(self.low).ln() } else { x };
        let span = bend(self.high) - bend(self.low);
        let part = if span > 0.0 { (bend(value) - bend(self.low)) / span } else { 0.5 };
        if part.is_finite() { part.clamp(0.0, 1.0) } else { 0.0 }
    }

    /// Round numbers on it.
    fn ticks(&self) -> Vec<f64> {
        if !self.logarithmic {
            return round_numbers(self.low, self.high);
        }
        let (first, last) = (self.low.log10().ceil() as i32, self.high.log10().floor() as i32);
        let stride = ((last - first) / 4 + 1).max(1) as usize;
        (first..=last).step_by(stride).map(|power| 10f64.powi(power)).collect()
    }
}

/// At most six multiples of 1, 2 or 5 times a power of ten.
fn round_numbers(low: f64, high: f64) -> Vec<f64> {
    let span = high - low;
    if span <= 0.0 || !span.is_finite() {
        return vec![low];
    }
    let power = 10f64.powf((span / 5.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| span / step <= 5.0).unwrap_or(span);
    let (first, last) = ((low / step).ceil() as i64, (high / step).floor() as i64);
    (first..=last).map(|index| index as f64 * step).collect()
}

/// To a tenth of a pixel.
fn tenths(x: f64) -> f64 {
    (x * 10.0).round() / 10.0
}

/// Draws losses over steps; those that are no numbers are left out.
pub fn line(points: &[(usize, f64)]) -> Line {
    let points: Vec<(f64, f64)> = points.iter().filter(|(_, y)| y.is_finite()).map(|(x, y)| (*x as f64, *y)).collect();
    let (across, up) =
        (Scale { logarithmic: false, ..Scale::of(points.iter().map(|point| point.0)) }, Scale::of(points.iter().map(|point| point.1)));
    let x = |value: f64| tenths(LEFT + across.part(value) * (RIGHT - LEFT));
    let y = |value: f64| tenths(BOTTOM - up.part(value) * (BOTTOM - TOP));
    let mut path = String::new();
    for (index, point) in points.iter().enumerate() {
        let _ = write!(path, "{}{} {}", if index == 0 { 'M' } else { 'L' }, x(point.0), y(point.1));
    }
    let tick = |at: f64, value: f64| Tick { at, label: brief(value) };
    Line {
        path,
        x: across.ticks().into_iter().map(|value| tick(x(value), value)).collect(),
        y: up.ticks().into_iter().map(|value| tick(y(value), value)).collect(),
        logarithmic: up.logarithmic,
    }
}

/// A distribution with the part that integers hold.
#[derive(Debug, PartialEq, Serialize)]
pub struct Histogram {
    pub path: String,
    /// Where that part begins and ends, as calibration chose it and after tuning.
    pub chosen: (f64, f64),
    pub tuned: (f64, f64),
    /// Percent of the values that lie beyond it after tuning.
    pub cut: f64,
}

/// Draws `seen`, heights by the logarithm of counts.
pub fn histogram(seen: &Distribution, chosen: (f64, f64), tuned: (f64, f64)) -> Histogram {
    let (low, high) = (f64::from(seen.low), f64::from(seen.high));
    let width = (high - low) / seen.counts.len().max(1) as f64;
    let scale = Scale { logarithmic: false, ..Scale::of([low, high, chosen.0, chosen.1, tuned.0, tuned.1].into_iter()) };
    let x = |value: f64| tenths(scale.part(value) * HISTOGRAM.0);
    let most = seen.counts.iter().fold(1.0f64, |most, count| most.max(*count)).ln_1p();
    let mut path = format!("M{} {}", x(low), HISTOGRAM.1);
    for (bin, count) in seen.counts.iter().enumerate() {
        let y = tenths(HISTOGRAM.1 - count.ln_1p() / most * (HISTOGRAM.1 - 4.0));
        let _ = write!(path, "V{y}H{}", x(low + width * (bin + 1) as f64));
    }
    let _ = write!(path, "V{}Z", HISTOGRAM.1);
    let ends = |(low, high): (f64, f64)| (x(low), x(high));
    Histogram { path, chosen: ends(chosen), tuned: ends(tuned), cut: cut_off(seen, tuned) }
}

/// Percent of the values beyond `held`, by the middles of bins.
fn cut_off(seen: &Distribution, held: (f64, f64)) -> f64 {
    let (low, high) = (f64::from(seen.low), f64::from(seen.high));
    let width = (high - low) / seen.counts.len().max(1) as f64;
    let middle = |bin: usize| low + width * (bin as f64 + 0.5);
    let beyond = seen.counts.iter().enumerate().filter(|(bin, _)| middle(*bin) < held.0 || middle(*bin) > held.1);
    100.0 * beyond.map(|(_, count)| count).sum::<f64>() / seen.counts.iter().sum::<f64>().max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_stays_within_its_axes_and_skips_what_is_no_number() {
        let cases: [&[(usize, f64)]; 5] =
            [&[], &[(0, 1.0)], &[(0, 3.0), (10, f64::NAN), (20, 2.0)], &[(0, 1e6), (5, 1e-6)], &[(0, -1.0), (1, f64::INFINITY), (2, 0.0)]];
        for points in cases {
            let drawn = line(points);
            let kept = points.iter().filter(|(_, y)| y.is_finite()).count();
            assert_eq!(drawn.path.matches(['M', 'L']).count(), kept, "{drawn:?}");
            assert!(!drawn.path.contains("NaN") && !drawn.path.contains("inf"), "{drawn:?}");
            assert!(drawn.x.iter().all(|tick| (LEFT..=RIGHT).contains(&tick.at)), "{drawn:?}");
            assert!(drawn.y.iter().all(|tick| (TOP..=BOTTOM).contains(&tick.at)) && drawn.y.len() <= 6, "{drawn:?}");
        }
        assert_eq!(line(&[(0, 2.0), (4, 1.0)]).path, "M46 10L350 154");
    }

    #[test]
    fn numbers_far_apart_get_a_logarithmic_scale_with_decades() {
        let drawn = line(&[(0, 1000.0), (1, 0.1)]);
        assert!(drawn.logarithmic);
        let labels: Vec<&str> = drawn.y.iter().map(|tick| tick.label.as_str()).collect();
        assert_eq!(labels, ["0.1", "10", "1000"]);
        assert!(!line(&[(0, 10.0), (1, 1.0)]).logarithmic && !line(&[(0, 10.0), (1, 0.0)]).logarithmic);
    }

    #[test]
    fn ticks_are_round_and_few() {
        for (low, high, expected) in
            [(0.0, 5.0, vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]), (-3.0, 12.0, vec![0.0, 5.0, 10.0]), (7.0, 7.0, vec![7.0])]
        {
            assert_eq!(round_numbers(low, high), expected);
        }
    }

    #[test]
    fn bars_grow_with_their_values_and_are_never_empty() {
        for values in [[0.001, 0.1, 90.0], [1.0, 2.0, 3.0], [-4.0, 0.0, 5.0]] {
            let scale = Scale::of(values.into_iter()).for_bars();
            let parts = values.map(|value| scale.part(value));
            assert!(parts[0] < parts[1] && parts[1] < parts[2] && parts[2] == 1.0, "{parts:?}");
            assert!(values[0] <= 0.0 || parts[0] > 0.0);
        }
        assert_eq!(Scale::of([f64::NAN].into_iter()).for_bars().part(f64::INFINITY), 0.0);
    }

    #[test]
    fn what_lies_beyond_the_held_part_is_counted() {
        let seen = Distribution { low: 0.0, high: 4.0, counts: vec![6.0, 2.0, 1.0, 1.0] };
        let drawn = histogram(&seen, (0.0, 4.0), (0.0, 2.0));
        assert_eq!((drawn.cut, drawn.chosen, drawn.tuned), (20.0, (0.0, 320.0), (0.0, 160.0)));
        assert!(drawn.path.starts_with("M0 70V4H80V") && drawn.path.ends_with("H320V70Z"), "{}", drawn.path);
        let nothing = histogram(&Distribution { low: 0.0, high: 0.0, counts: vec![0.0; 4] }, (0.0, 0.0), (0.0, 0.0));
        assert!(nothing.cut == 0.0 && !nothing.path.contains("NaN"), "{nothing:?}");
    }
}
