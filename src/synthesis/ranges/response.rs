//! How the values of the first BatchNormalizations follow from an input, where they follow linearly: found by probing the network.

use std::collections::HashSet;

use super::evidence::Verdict;
use crate::calibration::{CalibrationSet, Provenance, Samples};
use crate::error::Result;
use crate::execution::observe;
use crate::graph::{Graph, ValueId};
use crate::ops::BatchNormalization;
use crate::random::Random;
use crate::synthesis::Config;
use crate::synthesis::goal::Site;
use crate::synthesis::input::Input;

/// Correlation of neighbouring elements in the textures that the network is probed with, from noise to smooth.
pub const NEIGHBOURS: [f64; 7] = [0.0, 0.5, 0.7, 0.82, 0.9, 0.95, 0.98];
/// Channels that are told apart; beyond, one mean and one deviation stand for all.
pub const MOST_CHANNELS: usize = 64;
/// Equations that are looked at.
const MOST_EQUATIONS: usize = 256;
/// Elements of a texture, over all its samples, at least.
const ELEMENTS: usize = 1 << 15;
/// Part of the response by which it may differ from a linear one: preprocessing rounds.
const TOLERANCE: f64 = 0.02;
/// Steps in which deviations of channels are found, and times by which one may differ from the usual one.
const UPDATES: usize = 40;
const UNLIKE: f64 = 8.0;
/// Deviations below this part of the usual one are those of dead channels.
const DEAD: f64 = 1e-3;

/// One channel of a value in front of a BatchNormalization.
#[derive(Clone, Debug)]
pub struct Equation {
    /// As stored.
    pub mean: f64,
    /// As stored, without the layer's epsilon.
    pub variance: f64,
    /// Its mean where the input is 0.
    pub offset: f64,
    /// What its mean grows by with each channel of the input; one for all channels where these are too many.
    pub gains: Vec<f64>,
    /// Its variance over places where the input is 1: borders are padded.
    pub border: f64,
    /// Its variance under each texture of variance 1, all channels alike.
    pub alike: Vec<f64>,
    /// The same, with channels that have nothing to do with each other.
    pub apart: Vec<f64>,
    /// The part of each channel in its variance under noise.
    pub shares: Vec<f64>,
}

/// Values in front of first BatchNormalizations as functions of one input.
#[derive(Clone, Debug)]
pub struct Response {
    pub channels: usize,
    pub equations: Vec<Equation>,
}

impl Response {
    /// `None` where no site follows linearly from input `index` alone.
    ///
    /// # Errors
    /// If a site cannot be computed.
    pub fn of(graph: &Graph, sites: &[Site], inputs: &[Input], index: usize, config: &Config) -> Result<Option<Response>> {
        let sites: Vec<&Site> =
            sites.iter().filter(|site| sources(graph, site.value) == Some(HashSet::from([graph.inputs[index]]))).collect();
        let probe = Probe { graph, inputs, index, config };
        let Some((sites, rest)) = probe.linear(sites)? else { return Ok(None) };
        probe.response(&sites, &rest).map(Some)
    }

    /// The deviation of each channel: that of `verdict`, moved until the stored variances are explained best, where there are more
    /// of these than channels (multiplicative updates; shares of channels add up).
    pub fn deviations(&self, verdict: &Verdict) -> Vec<f64> {
        let columns = verdict.means.len();
        let mut powers = vec![verdict.deviation.powi(2); columns];
        if columns > 1 && columns == self.channels && self.equations.len() >= columns {
            let texture = NEIGHBOURS.iter().position(|neighbours| *neighbours == verdict.neighbours).unwrap_or(0);
            let shares: Vec<Vec<f64>> = self.equations.iter().map(|equation| equation.shares_under(texture)).collect();
            for _ in 0..UPDATES {
                update(&mut powers, &shares, &self.equations);
            }
        }
        let (least, most) = (verdict.deviation / UNLIKE, verdict.deviation * UNLIKE);
        powers.into_iter().map(|power| power.sqrt().clamp(least, most)).collect()
    }
}

fn update(powers: &mut [f64], shares: &[Vec<f64>], equations: &[Equation]) {
    let found: Vec<f64> = shares.iter().map(|shares| shares.iter().zip(&*powers).map(|(share, power)| share * power).sum()).collect();
    for (column, power) in powers.iter_mut().enumerate() {
        let terms = || shares.iter().zip(equations).zip(&found).filter(|((shares, _), _)| shares[column] > 0.0);
        let wanted: f64 = terms().map(|((shares, equation), found)| shares[column] * equation.variance / (found * found)).sum();
        let given: f64 = terms().map(|((shares, _), found)| shares[column] / found).sum();
        *power *= if given > 0.0 { wanted / given } else { 1.0 };
    }
}

impl Equation {
    /// The part of each channel in its variance under a texture.
    fn shares_under(&self, texture: usize) -> Vec<f64> {
        let growth = self.apart[texture] / self.apart[0];
        self.shares.iter().map(|share| share * growth).collect()
    }
}

/// The inputs that `value` is computed from; `None` where another BatchNormalization lies on the way.
fn sources(graph: &Graph, value: ValueId) -> Option<HashSet<ValueId>> {
    let (mut found, mut seen, mut open) = (HashSet::new(), HashSet::new(), vec![value]);
    while let Some(value) = open.pop() {
        if !seen.insert(value) {
            continue;
        }
        if graph.is_input(value) {
            found.insert(value);
        } else if let Some((_, node)) = graph.producer(value) {
            if node.is::<BatchNormalization>().is_some() {
                return None;
            }
            open.extend(node.inputs.iter().flatten());
        }
    }
    Some(found)
}

/// The dimension of an input that holds its channels.
pub fn channel_dim(input: &Input) -> Option<usize> {
    input.picture().map(|picture| picture.dims[0]).or((input.shape.len() > 1).then_some(1))
}

/// A normal field of variance 1: the correlation falls by the factor `neighbours` with every element along each axis.
pub fn field(dims: &[usize], neighbours: f64, random: &mut Random) -> Vec<f32> {
    let mut field: Vec<f32> = (0..dims.iter().product()).map(|_| random.normal()).collect();
    let fresh = (1.0 - neighbours * neighbours).sqrt() as f32;
    for (axis, size) in dims.iter().enumerate() {
        let stride: usize = dims[axis + 1..].iter().product();
        for at in 0..field.len() {
            if !(at / stride).is_multiple_of(*size) {
                field[at] = neighbours as f32 * field[at - stride] + fresh * field[at];
            }
        }
    }
    field
}

/// What each site's elements are where the input is 0, and where it is 1.
struct Rest {
    zero: Vec<Vec<f32>>,
    one: Vec<Vec<f32>>,
}

struct Probe<'a> {
    graph: &'a Graph,
    inputs: &'a [Input],
    index: usize,
    config: &'a Config,
}

impl Probe<'_> {
    fn input(&self) -> &Input {
        &self.inputs[self.index]
    }

    fn channels(&self) -> usize {
        channel_dim(self.input()).map_or(1, |dim| self.input().shape[dim])
    }

    /// Channels that are told apart.
    fn columns(&self) -> usize {
        if self.channels() <= MOST_CHANNELS { self.channels() } else { 1 }
    }

    /// Shape without batch and channels.
    fn extent(&self) -> Vec<usize> {
        let channel = channel_dim(self.input());
        let sizes = self.input().shape.iter().enumerate().skip(1);
        sizes.filter(|(dim, _)| Some(*dim) != channel).map(|(_, size)| *size).collect()
    }

    fn set(&self, samples: Vec<Vec<f32>>) -> Result<CalibrationSet> {
        let count = samples.len();
        let mut own = Some(samples);
        let of = |(index, input): (usize, &Input)| {
            let elements = match own.take_if(|_| index == self.index) {
                Some(samples) => samples.concat(),
                None => vec![0.0; count * input.len()],
            };
            Samples::new(&input.name, input.shape.clone(), elements)
        };
        Ok(CalibrationSet { inputs: self.inputs.iter().enumerate().map(of).collect::<Result<_>>()?, provenance: Provenance::default() })
    }

    /// An input whose channels are `planes`.
    fn joined(&self, planes: impl Fn(usize) -> Vec<f32>) -> Vec<f32> {
        let (shape, channels) = (&self.input().shape, self.channels());
        let inner: usize = channel_dim(self.input()).map_or(self.input().len(), |dim| shape[dim + 1..].iter().product());
        let mut elements = vec![0.0; self.input().len()];
        for channel in 0..channels {
            let plane = planes(channel);
            for (at, x) in plane.into_iter().enumerate() {
                elements[(at / inner * channels + channel) * inner + at % inner] = x;
            }
        }
        elements
    }

    fn random(&self, purpose: u64) -> Random {
        Random::new(self.config.seed, 1 << 41 | (self.index as u64) << 32 | purpose)
    }

    /// Those of `sites` that follow linearly, and where they rest.
    fn linear<'s>(&self, sites: Vec<&'s Site>) -> Result<Option<(Vec<&'s Site>, Rest)>> {
        if sites.is_empty() {
            return Ok(None);
        }
        let area: usize = self.extent().iter().product();
        let mut random = self.random(0);
        let noise: Vec<f32> = (0..self.input().len()).map(|_| random.normal()).collect();
        let times = |factor: f32| noise.iter().map(|x| factor * x).collect::<Vec<f32>>();
        let set = self.set(vec![times(0.0), noise.clone(), times(-1.0), times(3.0), self.joined(|_| vec![1.0; area])])?;
        let values: Vec<ValueId> = sites.iter().map(|site| site.value).collect();
        let mut seen: Vec<Vec<Vec<f32>>> = vec![Vec::new(); sites.len()];
        observe(self.graph, &values, &set, &self.config.execution, &mut |_, elements| {
            seen.iter_mut().zip(elements).for_each(|(seen, elements)| seen.push(elements.to_vec()));
        })?;
        let (mut kept, mut rest) = (Vec::new(), Rest { zero: Vec::new(), one: Vec::new() });
        let mut equations = 0;
        for (site, seen) in sites.into_iter().zip(seen) {
            let [zero, once, back, thrice, one] = seen.try_into().unwrap_or_default();
            if equations < MOST_EQUATIONS && is_linear(&zero, &once, &back, &thrice) {
                equations += site.stored.len();
                kept.push(site);
                rest.zero.push(zero);
                rest.one.push(one);
            }
        }
        Ok((!kept.is_empty()).then_some((kept, rest)))
    }

    fn response(&self, sites: &[&Site], rest: &Rest) -> Result<Response> {
        let (columns, extent) = (self.columns(), self.extent());
        let area: usize = extent.iter().product();
        let samples = (ELEMENTS / area.max(1)).clamp(2, 24);
        let all = columns != self.channels();
        let constant = |column: usize| self.joined(|channel| vec![f32::from(u8::from(all || channel == column)); area]);
        let gains = (0..columns).map(|column| Ok(means(&self.change(sites, rest, vec![constant(column)])?))).collect::<Result<Vec<_>>>()?;
        let textured = |alike: bool, (index, neighbours): (usize, &f64)| {
            let mut random = self.random(1 + 2 * index as u64 + u64::from(alike));
            let mut sample = || {
                let fields: Vec<Vec<f32>> =
                    (0..if alike { 1 } else { self.channels() }).map(|_| field(&extent, *neighbours, &mut random)).collect();
                self.joined(|channel| fields[if alike { 0 } else { channel }].clone())
            };
            let samples = (0..samples).map(|_| sample()).collect();
            Ok(powers(&self.change(sites, rest, samples)?))
        };
        let alike = NEIGHBOURS.iter().enumerate().map(|texture| textured(true, texture)).collect::<Result<Vec<_>>>()?;
        let apart = match self.channels() {
            1 => alike.clone(),
            _ => NEIGHBOURS.iter().enumerate().map(|texture| textured(false, texture)).collect::<Result<Vec<_>>>()?,
        };
        let mut random = self.random(100);
        let own = |column: usize| {
            let noise = field(&extent, 0.0, &mut random);
            let sample = self.joined(|channel| if all || channel == column { noise.clone() } else { vec![0.0; area] });
            Ok(powers(&self.change(sites, rest, vec![sample])?))
        };
        let shares = (0..columns).map(own).collect::<Result<Vec<_>>>()?;
        let mut equations = Vec::new();
        for (s, site) in sites.iter().enumerate() {
            let count = site.stored.len();
            let (offsets, ones) = (channel_means(&rest.zero[s], count), differences(&rest.one[s], &rest.zero[s]));
            let (mean_of_ones, squares_of_ones) = (channel_means(&ones, count), channel_means(&squares(&ones), count));
            for (e, stored) in site.stored.iter().enumerate() {
                let at = |table: &[Vec<Vec<f64>>]| table.iter().map(|of_sites| of_sites[s][e]).collect::<Vec<f64>>();
                equations.push(Equation {
                    mean: stored.mean,
                    variance: stored.variance - site.epsilon,
                    offset: offsets[e],
                    gains: at(&gains),
                    border: (squares_of_ones[e] - mean_of_ones[e].powi(2)).max(0.0),
                    alike: at(&alike),
                    apart: at(&apart),
                    shares: at(&shares),
                });
            }
        }
        Ok(Response { channels: self.channels(), equations: alive(equations) })
    }

    /// By how much `samples` change the elements of each site, sample by sample; channels are contiguous.
    fn change(&self, sites: &[&Site], rest: &Rest, samples: Vec<Vec<f32>>) -> Result<Vec<Change>> {
        let values: Vec<ValueId> = sites.iter().map(|site| site.value).collect();
        let mut changes: Vec<Change> = sites.iter().map(|site| Change::new(site.stored.len())).collect();
        observe(self.graph, &values, &self.set(samples)?, &self.config.execution, &mut |_, elements| {
            changes.iter_mut().zip(elements).zip(&rest.zero).for_each(|((change, elements), zero)| change.add(elements, zero));
        })?;
        Ok(changes)
    }
}

/// Sums over places and samples.
struct Change {
    count: f64,
    sums: Vec<f64>,
    squares: Vec<f64>,
}

impl Change {
    fn new(channels: usize) -> Self {
        Change { count: 0.0, sums: vec![0.0; channels], squares: vec![0.0; channels] }
    }

    fn add(&mut self, elements: &[f32], zero: &[f32]) {
        let channels = self.sums.len();
        for (found, zero) in elements.chunks_exact(channels).zip(zero.chunks_exact(channels)) {
            self.count += 1.0;
            for (channel, (found, zero)) in found.iter().zip(zero).enumerate() {
                let change = f64::from(found - zero);
                self.sums[channel] += change;
                self.squares[channel] += change * change;
            }
        }
    }
}

fn means(changes: &[Change]) -> Vec<Vec<f64>> {
    changes.iter().map(|change| change.sums.iter().map(|sum| sum / change.count).collect()).collect()
}

fn powers(changes: &[Change]) -> Vec<Vec<f64>> {
    changes.iter().map(|change| change.squares.iter().map(|sum| sum / change.count).collect()).collect()
}

fn channel_means(elements: &[f32], channels: usize) -> Vec<f64> {
    let mut change = Change::new(channels);
    change.add(elements, &vec![0.0; elements.len()]);
    means(&[change]).remove(0)
}

fn differences(a: &[f32], b: &[f32]) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

fn squares(elements: &[f32]) -> Vec<f32> {
    elements.iter().map(|x| x * x).collect()
}

fn is_linear(zero: &[f32], once: &[f32], back: &[f32], thrice: &[f32]) -> bool {
    let (mut power, mut off) = (0.0, 0.0);
    for (((zero, once), back), thrice) in zero.iter().zip(once).zip(back).zip(thrice) {
        let change = f64::from(once - zero);
        power += change * change;
        off += (f64::from(back - zero) + change).powi(2) + (f64::from(thrice - zero) / 3.0 - change).powi(2);
    }
    power > 0.0 && power.is_finite() && off <= TOLERANCE * TOLERANCE * power
}

/// Equations of channels that vary.
fn alive(mut equations: Vec<Equation>) -> Vec<Equation> {
    let mut deviations: Vec<f64> = equations.iter().map(|equation| equation.variance.max(0.0).sqrt()).collect();
    deviations.sort_by(f64::total_cmp);
    let least = DEAD * deviations.get(deviations.len() / 2).copied().unwrap_or(0.0);
    equations.retain(|equation| {
        let responds = equation.alike.iter().chain(&equation.apart).all(|power| *power > 0.0 && power.is_finite());
        responds && equation.mean.is_finite() && equation.variance > (least * least).max(1e-30)
    });
    equations
}
