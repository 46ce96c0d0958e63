//! Which parts of a plan make how much of the noise.

use super::{Config, Prepared, Trial};
use crate::error::Result;
use crate::evaluation::Reference;
use crate::progress::Progress;
use crate::quantization::{Layer, QuantPlan};

/// What can be quantized or not by itself.
pub(super) enum Part {
    Weights(Layer),
    /// Values with common parameters.
    Group(usize),
}

/// A part, and the noise that it makes in the outputs with nothing else quantized.
pub(super) struct Suspect {
    pub part: Part,
    pub noise: f64,
}

/// Nodes that are run to find the noise, per sample; a network of five hundred nodes has a thousand parts tried.
const WORK: usize = 1 << 19;
/// Parts that are tried of any network.
const LEAST_TRIED: usize = 16;

/// The parts of a trial, the noisiest first.
pub(super) fn suspects(prepared: &Prepared, trial: &Trial, config: &Config, progress: &dyn Progress) -> Result<Vec<Suspect>> {
    let samples = prepared.unseen.as_ref().unwrap_or(&prepared.set);
    let reference = Reference::new(&prepared.teacher, samples, config.execution)?;
    let weights = trial.plan.layers(&prepared.teacher).into_iter().map(Part::Weights);
    let parts: Vec<Part> = weights.chain((0..trial.plan.groups.len()).map(Part::Group)).collect();
    let most = (WORK / prepared.teacher.node_count().max(1)).max(LEAST_TRIED);
    let mut crowds = find_noise(in_crowds(parts, most), trial, &reference, progress)?;
    crowds.sort_by(|a, b| b.1.total_cmp(&a.1));
    let (mut suspects, mut noisiest) = (Vec::new(), Vec::new());
    for (crowd, noise) in crowds {
        if crowd.len() > 1 && noisiest.len() < most {
            noisiest.extend(crowd);
        } else {
            suspects.extend(shared_out(crowd, noise));
        }
    }
    if !noisiest.is_empty() {
        progress
            .note("self-check: there are too many layers to look at each for noise: only the noisiest stretches were looked at closely");
        let closely = find_noise(in_crowds(noisiest, most), trial, &reference, progress)?;
        suspects.extend(closely.into_iter().flat_map(|(crowd, noise)| shared_out(crowd, noise)));
    }
    suspects.sort_by(|a, b| b.noise.total_cmp(&a.noise));
    Ok(suspects)
}

/// A crowd's parts, each with as much of its noise.
fn shared_out(crowd: Vec<Part>, noise: f64) -> impl Iterator<Item = Suspect> {
    let share = noise / crowd.len() as f64;
    crowd.into_iter().map(move |part| Suspect { part, noise: share })
}

/// `most` crowds of neighbours at most; each part by itself if there are no more parts.
fn in_crowds(parts: Vec<Part>, most: usize) -> Vec<Vec<Part>> {
    let size = parts.len().div_ceil(most).max(1);
    let mut crowds: Vec<Vec<Part>> = Vec::new();
    for part in parts {
        match crowds.last_mut().filter(|crowd| crowd.len() < size) {
            Some(crowd) => crowd.push(part),
            None => crowds.push(vec![part]),
        }
    }
    crowds
}

/// What each crowd makes of noise with nothing else quantized.
fn find_noise(crowds: Vec<Vec<Part>>, trial: &Trial, reference: &Reference<'_>, progress: &dyn Progress) -> Result<Vec<(Vec<Part>, f64)>> {
    let mut found = Vec::with_capacity(crowds.len());
    progress.begin("find noise", crowds.len());
    for crowd in crowds {
        let noise = reference.noise(&only(&trial.plan, &crowd), &trial.ranges)?;
        found.push((crowd, noise));
        progress.step("");
        progress.check()?;
    }
    progress.end();
    Ok(found)
}

fn only(plan: &QuantPlan, parts: &[Part]) -> QuantPlan {
    let (mut weights, mut groups) = (Vec::new(), Vec::new());
    for part in parts {
        match part {
            Part::Weights(layer) => weights.push(layer.weights),
            Part::Group(group) => groups.push(*group),
        }
    }
    plan.only(&weights, &groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crowds_are_neighbours_and_no_more_than_may_be() {
        let sizes = |parts: usize, most: usize| {
            let crowds = in_crowds((0..parts).map(Part::Group).collect(), most);
            crowds.iter().map(Vec::len).collect::<Vec<usize>>()
        };
        assert_eq!((sizes(3, 5), sizes(7, 3), sizes(0, 3)), (vec![1; 3], vec![3, 3, 1], vec![]));
    }
}
