//! Einsum.

use std::collections::BTreeMap;

use super::attributes::Attributes;
use super::operator::{Fact, Facts, Implementation, Layout, Operator, Refusal, Site};
use super::unary::{numeric, output};
use super::{NodeForm, Parsed};
use crate::graph::Dim;
use crate::kernels::contraction::Contraction;

/// Products that are written down by hand hold this many terms at most.
const MOST_TERMS: usize = 1 << 26;

/// Sums of products of one or two operands, whose indices the equation names.
#[derive(Clone, Debug, PartialEq)]
pub struct Einsum {
    pub equation: String,
    /// Of each operand.
    inputs: Vec<Vec<char>>,
    output: Vec<char>,
}

impl Einsum {
    /// # Errors
    /// If an attribute is wrong, unknown or not supported.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        let mut attributes = form.attributes;
        let equation = attributes.take_string("equation", "")?;
        attributes.finish()?;
        let plain: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
        let (left, right) = plain.split_once("->").map_or((plain.as_str(), None), |(left, right)| (left, Some(right)));
        let inputs: Vec<Vec<char>> = left.split(',').map(|term| term.chars().collect()).collect();
        // Without an arrow the output has the indices that stand once, in the order of the alphabet.
        let count = |label: char| left.chars().filter(|other| *other == label).count();
        let implied = || {
            let mut labels: Vec<char> = left.chars().filter(|c| c.is_alphabetic() && count(*c) == 1).collect();
            labels.sort_unstable();
            labels
        };
        let output: Vec<char> = right.map_or_else(implied, |right| right.chars().collect());
        let known = |label: &char| label.is_alphabetic();
        let twice = output.iter().enumerate().any(|(at, label)| output[..at].contains(label));
        let plain = inputs.iter().chain([&output]).flatten().all(known);
        if !plain || twice || inputs.len() > 2 || output.iter().any(|label| count(*label) == 0) {
            return Err(format!("equation={equation} is not supported"));
        }
        Ok(Parsed::plain(Einsum { equation, inputs, output }))
    }

    /// The size of every index.
    fn sizes(&self, shapes: &[&[Dim]]) -> Result<BTreeMap<char, Dim>, Refusal> {
        let mut sizes = BTreeMap::new();
        if shapes.len() != self.inputs.len() {
            return Err(format!("equation={} does not fit {} inputs", self.equation, shapes.len()));
        }
        for (labels, shape) in self.inputs.iter().zip(shapes) {
            if labels.len() != shape.len() {
                return Err(format!("equation={} does not fit an input of rank {}", self.equation, shape.len()));
            }
            for (label, dim) in labels.iter().zip(*shape) {
                let known = sizes.entry(*label).or_insert_with(|| dim.clone());
                match (known.known(), dim.known()) {
                    (Some(a), Some(b)) if a != b => return Err(format!("index {label} is {a} in one input and {b} in another")),
                    (None, Some(_)) => *known = dim.clone(),
                    _ => {}
                }
            }
        }
        Ok(sizes)
    }
}

impl Operator for Einsum {
    fn name(&self) -> &str {
        "Einsum"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default().string("equation", &self.equation)
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let facts = (0..inputs.len()).map(|index| numeric(inputs, index)).collect::<Result<Vec<_>, _>>()?;
        let sizes = self.sizes(&facts.iter().map(|fact| fact.shape.as_slice()).collect::<Vec<_>>())?;
        let shape = self.output.iter().map(|label| sizes.get(label).cloned().unwrap_or(Dim::Unknown)).collect();
        Ok(vec![Fact::new(inputs.required(0)?.data_type, shape)])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let layouts = (0..site.inputs.len()).map(|index| Ok(&site.required(index)?.layout)).collect::<Result<Vec<_>, Refusal>>()?;
        let shapes: Vec<Vec<Dim>> = layouts.iter().map(|layout| layout.shape.iter().map(|size| Dim::Known(*size)).collect()).collect();
        let sizes = self.sizes(&shapes.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
        let sizes: Vec<(char, usize)> = sizes.into_iter().map(|(label, dim)| (label, dim.known().unwrap_or(1))).collect();
        let terms = sizes.iter().try_fold(1usize, |product, (_, size)| product.checked_mul(*size));
        if terms.is_none_or(|terms| terms > MOST_TERMS) {
            return Err(format!("equation={} has too many products", self.equation));
        }
        let all: Vec<usize> = sizes.iter().map(|(_, size)| *size).collect();
        let places = |labels: &[char], layout: &Layout| {
            let step = |wanted: char| labels.iter().zip(&layout.strides).filter(|(label, _)| **label == wanted).map(|(_, s)| s).sum();
            Layout { shape: all.clone(), strides: sizes.iter().map(|(label, _)| step(*label)).collect() }.offsets()
        };
        let to = places(&self.output, output(site)?);
        let operands: Vec<Vec<usize>> = self.inputs.iter().zip(&layouts).map(|(labels, layout)| places(labels, layout)).collect();
        let place = |operand: usize, term: usize| operands.get(operand).map_or(0, |places| places[term] as u32);
        let terms = to.iter().enumerate().map(|(term, to)| (*to as u32, [place(0, term), place(1, term)])).collect();
        Ok(Implementation::Compute(Box::new(Contraction { terms, pair: operands.len() > 1 })))
    }
}
