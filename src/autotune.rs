//! Which parts of a network run on integers, decided by measurement: predictions propose, ONNX Runtime disposes.

use std::collections::{BTreeSet, HashMap};

use crate::calibration::{CalibrationSet, calibrate, observers};
use crate::emit::{insert, seal};
use crate::error::{Error, Result};
use crate::evaluation::{Subject, Trial, onnx_runtime_library, race};
use crate::execution;
use crate::graph::{Graph, NodeId};
use crate::onnx::{Model, to_bytes};
use crate::passes::{pad_channels, single_sample};
use crate::progress::{Progress, Silent};
use crate::quantization::{Objective, QuantPlan, Target, costs, faster_in_float, islands, movable_nodes, plan_around, targets};

/// Islands whose change of side is tried, at most.
const MOST_MOVES: usize = 16;
/// Samples that ranges of trials are found on: what a file takes does not depend on them.
const SAMPLES: usize = 8;

/// Which nodes run in float though they need not, and why; and whether their channels grow to whole blocks for that.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cut {
    pub float: HashMap<NodeId, String>,
    pub padded: bool,
}

impl Cut {
    /// The cut that is predicted to serve `objective`.
    ///
    /// # Errors
    /// If nothing can be quantized.
    pub fn predicted(graph: &Graph, target: &Target, exclude: &[String], objective: Objective) -> Result<Cut> {
        let float = faster_in_float(graph, &single_sample(graph)?, target, exclude, &HashMap::new(), objective)?;
        Ok(Cut { padded: objective == Objective::Latency && !float.is_empty(), float })
    }

    /// Plans `graph` to 8 bits along this cut.
    ///
    /// # Errors
    /// If nothing can be quantized.
    pub fn plan(&self, graph: &mut Graph, target: &Target, exclude: &[String]) -> Result<QuantPlan> {
        self.pad(graph)?;
        plan_around(graph, target, exclude, &self.float)
    }

    /// Lets channels of what runs in float grow to whole blocks, where that is wanted.
    ///
    /// # Errors
    /// If the graph is not sound.
    pub fn pad(&self, graph: &mut Graph) -> Result<()> {
        if self.padded {
            pad_channels(graph, costs::BLOCK, &self.float.keys().copied().collect())?;
        }
        Ok(())
    }

    fn nodes(&self) -> BTreeSet<NodeId> {
        self.float.keys().copied().collect()
    }

    /// With the nodes of `island` on the other side.
    fn moved(&self, island: &BTreeSet<NodeId>) -> Cut {
        let float = self.nodes().symmetric_difference(island).map(|id| (*id, "float was measured as faster".to_string())).collect();
        Cut { float, padded: self.padded }
    }
}

/// What trials are made of.
pub struct Bench<'a> {
    pub model: &'a Model,
    /// The float graph, prepared for planning.
    pub graph: &'a Graph,
    pub target: &'a Target,
    pub exclude: &'a [String],
    pub samples: CalibrationSet,
    pub execution: execution::Config,
}

/// A cut, its name, and the file that it makes.
struct Candidate {
    name: String,
    cut: Cut,
    bytes: Vec<u8>,
}

/// Why files for `target` cannot be timed on this machine.
///
/// # Errors
/// If they cannot.
pub fn check(target: &Target) -> Result<()> {
    if target.timed_on != Some(std::env::consts::ARCH) {
        let name = target.name;
        return Err(Error::Usage(format!(
            "--autotune: ONNX Runtime on this CPU ({}) cannot time files for {name}",
            std::env::consts::ARCH
        )));
    }
    if onnx_runtime_library().is_none() {
        let advice = "set ORT_DYLIB_PATH to the shared library of onnxruntime";
        return Err(Error::Usage(format!("--autotune measures in ONNX Runtime, which is not named: {advice}")));
    }
    Ok(())
}

/// The cut whose file is the fastest of those that each objective predicts, after changing the side of every island of it
/// where that is measurably faster. Nothing is tuned: times do not depend on it. Says what was chosen, and all trials.
///
/// # Errors
/// If a candidate cannot be made, or ONNX Runtime does not run it.
pub fn autotune(bench: &Bench<'_>, progress: &dyn Progress) -> Result<(Cut, String, Vec<Trial>)> {
    let mut trials = Vec::new();
    let mut best = bench.fastest_prediction(&mut trials, progress)?;
    let movable = movable_nodes(bench.graph, bench.target, bench.exclude)?;
    let islands = islands(bench.graph, &movable, &best.cut.nodes());
    if islands.len() > MOST_MOVES {
        progress.note(&format!("--autotune: {} parts could change sides, the {MOST_MOVES} largest were tried", islands.len()));
    }
    progress.begin("autotune", islands.len().min(MOST_MOVES));
    for island in islands.iter().take(MOST_MOVES) {
        progress.check()?;
        let candidate = bench.candidate(bench.move_name(&best, island), best.cut.moved(island))?;
        let ratios = race(&[bench.subject(&best), bench.subject(&candidate)], &bench.samples)?;
        let trial = Trial::new(&candidate.name, &best.name, ratios[1]);
        progress.step(&trial.to_string());
        trials.push(trial);
        if ratios[1].is_faster() {
            best = Candidate { name: format!("{}, {}", best.name, candidate.name), ..candidate };
        }
    }
    progress.end();
    trials.iter().for_each(|trial| progress.note(&format!("--autotune: {trial}")));
    progress.note(&format!("--autotune chose {}; measurements decided, so another run may write other bytes", best.name));
    Ok((best.cut, best.name, trials))
}

impl Bench<'_> {
    /// The fastest of the cuts that the objectives predict. Where nothing was measured for the target, the costs of the
    /// first one propose.
    fn fastest_prediction(&self, trials: &mut Vec<Trial>, progress: &dyn Progress) -> Result<Candidate> {
        let proposing = Target { costs: self.target.costs.or(targets::all()[0].costs), ..self.target.clone() };
        let mut candidates: Vec<Candidate> = Vec::new();
        for objective in [Objective::Integer, Objective::Balanced, Objective::Latency] {
            progress.check()?;
            let cut = Cut::predicted(self.graph, &proposing, self.exclude, objective)?;
            if candidates.iter().all(|other| (other.cut.nodes(), other.cut.padded) != (cut.nodes(), cut.padded)) {
                candidates.push(self.candidate(objective.name().to_string(), cut)?);
            }
        }
        let files: Vec<Subject<'_>> = candidates.iter().map(|candidate| self.subject(candidate)).collect();
        let ratios = race(&files, &self.samples)?;
        let first = candidates[0].name.clone();
        trials.extend(candidates.iter().zip(&ratios).skip(1).map(|(candidate, ratio)| Trial::new(&candidate.name, &first, *ratio)));
        let fastest = (0..ratios.len()).min_by(|a, b| ratios[*a].median.total_cmp(&ratios[*b].median)).unwrap_or(0);
        Ok(candidates.swap_remove(fastest))
    }

    fn candidate(&self, name: String, cut: Cut) -> Result<Candidate> {
        let mut graph = self.graph.clone();
        let plan = cut.plan(&mut graph, self.target, self.exclude)?;
        let observer = observers::find("min-max").ok_or_else(|| Error::Internal("an observer is missing".to_string()))?;
        let samples = self.samples.slice(0..self.samples.len().min(SAMPLES));
        let ranges = calibrate(&graph, &plan, &samples, observer.as_ref(), &self.execution, &Silent)?;
        let student = insert(&mut graph, &plan, &ranges)?;
        seal(&mut graph, &plan, &student)?;
        Ok(Candidate { name, cut, bytes: to_bytes(&self.model.with_graph(graph))? })
    }

    fn subject<'a>(&'a self, candidate: &'a Candidate) -> Subject<'a> {
        Subject { label: "trial", bytes: &candidate.bytes, path: None, graph: self.graph }
    }

    fn move_name(&self, best: &Candidate, island: &BTreeSet<NodeId>) -> String {
        let name = island.first().map_or("", |id| self.graph.node(*id).name.as_str());
        let side = if island.first().is_some_and(|id| best.cut.float.contains_key(id)) { "integers" } else { "float" };
        format!("{} nodes from `{name}` to {side}", island.len())
    }
}
