//! What the original computes, to hold quantized graphs against in our own executor.

use ndarray::ArrayD;

use super::output::compare_output;
use super::report::Comparison;
use crate::calibration::{CalibrationSet, Ranges};
use crate::distillation::comparable_ends;
use crate::emit::insert;
use crate::error::{Error, Result};
use crate::execution::{Config, evaluate};
use crate::graph::{Graph, ValueId};
use crate::quantization::QuantPlan;

/// The original's outputs on some samples; logits where an output is a Softmax.
pub struct Reference<'a> {
    pub teacher: &'a Graph,
    pub set: &'a CalibrationSet,
    execution: Config,
    /// One for each output that can be computed.
    values: Vec<ValueId>,
    outputs: Vec<ArrayD<f32>>,
}

/// Samples of which agreement tells something.
const ENOUGH: usize = 16;

impl<'a> Reference<'a> {
    /// # Errors
    /// If no output of `teacher` can be computed on `set`.
    pub fn new(teacher: &'a Graph, set: &'a CalibrationSet, execution: Config) -> Result<Self> {
        let values: Vec<ValueId> = comparable_ends(teacher, teacher).into_iter().map(|(_, value)| value).collect();
        if values.is_empty() || set.is_empty() {
            return Err(Error::Data("no output of the original can be computed on the samples".into()));
        }
        let outputs = evaluate(teacher, &values, set, &execution)?;
        Ok(Reference { teacher, set, execution, values, outputs })
    }

    /// What was computed: one value of `teacher` for each output, with its elements on all samples.
    pub fn outputs(&self) -> impl Iterator<Item = (ValueId, &ArrayD<f32>)> {
        self.values.iter().copied().zip(&self.outputs)
    }

    /// What the pairs of `plan` alone do to the outputs: Σ (r − c)² / Σ r², averaged over the outputs.
    ///
    /// # Errors
    /// If plan and ranges do not fit the graph.
    pub fn noise(&self, plan: &QuantPlan, ranges: &Ranges) -> Result<f64> {
        let mut graph = self.teacher.clone();
        insert(&mut graph, plan, ranges)?;
        let comparison = self.compare(&graph)?;
        let noises = comparison.outputs.iter().map(|output| 10f64.powf(-output.sqnr_db / 10.0));
        Ok(noises.sum::<f64>() / comparison.outputs.len().max(1) as f64)
    }

    /// Holds `graph`, a copy of the teacher with QDQ pairs, against it. Agreement is told of enough samples.
    ///
    /// # Errors
    /// If `graph` cannot be computed.
    pub fn compare(&self, graph: &Graph) -> Result<Comparison> {
        let pairs = comparable_ends(self.teacher, graph);
        let values: Vec<ValueId> = pairs.iter().map(|(value, _)| *value).collect();
        let found = evaluate(graph, &values, self.set, &self.execution)?;
        if found.len() != self.outputs.len() {
            return Err(Error::Internal("the quantized graph has other outputs than the original".into()));
        }
        let mut outputs = Vec::new();
        for ((value, expected), actual) in self.values.iter().zip(&self.outputs).zip(&found) {
            let mut output = compare_output(&self.teacher.value(*value).name, expected, actual)?;
            output.agreement_percent = output.agreement_percent.filter(|_| self.set.len() >= ENOUGH);
            outputs.push(output);
        }
        let engine = concat!("zeroq ", env!("CARGO_PKG_VERSION")).to_string();
        Ok(Comparison { engine, samples: self.set.len(), outputs, ..Comparison::default() })
    }
}
