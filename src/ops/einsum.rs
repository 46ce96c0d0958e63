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

/// Stands for the dots in an equation.
const DOTS: char = '…';

/// Sums of products of one or two operands, whose indices the equation names. Dimensions that it passes over with dots are
/// broadcast; in messages and in sizes their indices are digits.
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
        let plain: String = equation.chars().filter(|c| !c.is_whitespace()).collect::<String>().replace("...", &DOTS.to_string());
        let (left, right) = plain.split_once("->").map_or((plain.as_str(), None), |(left, right)| (left, Some(right)));
        let inputs: Vec<Vec<char>> = left.split(',').map(|term| term.chars().collect()).collect();
        // Without an arrow the output has the indices that stand once, in the order of the alphabet.
        let count = |label: char| left.chars().filter(|other| *other == label).count();
        let implied = || {
            let mut labels: Vec<char> = left.chars().filter(|c| c.is_alphabetic() && count(*c) == 1).collect();
            labels.sort_unstable();
            left.contains(DOTS).then_some(DOTS).into_iter().chain(labels).collect()
        };
        let output: Vec<char> = right.map_or_else(implied, |right| right.chars().collect());
        let known = |label: &char| label.is_alphabetic() || *label == DOTS;
        let dots_twice = inputs.iter().any(|labels| labels.iter().filter(|label| **label == DOTS).count() > 1);
        let twice = output.iter().enumerate().any(|(at, label)| output[..at].contains(label));
        let plain = inputs.iter().chain([&output]).flatten().all(known);
        if !plain || twice || dots_twice || inputs.len() > 2 || output.iter().any(|label| count(*label) == 0) {
            return Err(format!("equation={equation} is not supported"));
        }
        Ok(Parsed::plain(Einsum { equation, inputs, output }))
    }

    /// The equation with indices of their own for the dimensions that dots stand for in inputs of these ranks.
    fn spelled_out(&self, ranks: &[usize]) -> Result<Einsum, Refusal> {
        if ranks.len() != self.inputs.len() {
            return Err(format!("equation={} does not fit {} inputs", self.equation, ranks.len()));
        }
        let mut passed_over = Vec::new();
        for (labels, rank) in self.inputs.iter().zip(ranks) {
            let named = labels.iter().filter(|label| **label != DOTS).count();
            let over = rank.checked_sub(named).filter(|over| *over == 0 || named < labels.len());
            passed_over.push(over.ok_or_else(|| format!("equation={} does not fit an input of rank {rank}", self.equation))?);
        }
        let most = passed_over.iter().copied().max().unwrap_or(0);
        let digits: Vec<char> = (0..=9).filter_map(|digit| char::from_digit(digit, 10)).take(most).collect();
        if digits.len() < most {
            return Err(format!("equation={} passes over {most} dimensions, which is not supported", self.equation));
        }
        let spell = |labels: &[char], over: usize| -> Vec<char> {
            labels.iter().flat_map(|label| if *label == DOTS { digits[most - over..].to_vec() } else { vec![*label] }).collect()
        };
        let inputs = self.inputs.iter().zip(passed_over).map(|(labels, over)| spell(labels, over)).collect();
        Ok(Einsum { equation: self.equation.clone(), inputs, output: spell(&self.output, most) })
    }

    /// The size of every index.
    fn sizes(&self, shapes: &[&[Dim]]) -> Result<BTreeMap<char, Dim>, Refusal> {
        let mut sizes = BTreeMap::new();
        for (labels, shape) in self.inputs.iter().zip(shapes) {
            for (label, dim) in labels.iter().zip(*shape) {
                let known = sizes.entry(*label).or_insert_with(|| dim.clone());
                match (known.known(), dim.known()) {
                    (Some(1), Some(_)) if label.is_ascii_digit() => *known = dim.clone(),
                    (Some(_), Some(1)) if label.is_ascii_digit() => {}
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
        let spelled = self.spelled_out(&facts.iter().map(|fact| fact.rank()).collect::<Vec<_>>())?;
        let sizes = spelled.sizes(&facts.iter().map(|fact| fact.shape.as_slice()).collect::<Vec<_>>())?;
        let shape = spelled.output.iter().map(|label| sizes.get(label).cloned().unwrap_or(Dim::Unknown)).collect();
        Ok(vec![Fact::new(inputs.required(0)?.data_type, shape)])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let layouts = (0..site.inputs.len()).map(|index| Ok(&site.required(index)?.layout)).collect::<Result<Vec<_>, Refusal>>()?;
        let shapes: Vec<Vec<Dim>> = layouts.iter().map(|layout| layout.shape.iter().map(|size| Dim::Known(*size)).collect()).collect();
        let spelled = self.spelled_out(&shapes.iter().map(Vec::len).collect::<Vec<_>>())?;
        let sizes = spelled.sizes(&shapes.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
        let sizes: Vec<(char, usize)> = sizes.into_iter().map(|(label, dim)| (label, dim.known().unwrap_or(1))).collect();
        let terms = sizes.iter().try_fold(1usize, |product, (_, size)| product.checked_mul(*size));
        if terms.is_none_or(|terms| terms > MOST_TERMS) {
            return Err(format!("equation={} has too many products", self.equation));
        }
        let all: Vec<usize> = sizes.iter().map(|(_, size)| *size).collect();
        let places = |labels: &[char], layout: &Layout| {
            let step = |(wanted, size): &(char, usize)| {
                let dims = labels.iter().zip(&layout.shape).zip(&layout.strides);
                // A dimension of size 1 among larger ones is broadcast.
                dims.filter(|((label, own), _)| *label == wanted && *own == size).map(|(_, stride)| stride).sum()
            };
            Layout { shape: all.clone(), strides: sizes.iter().map(step).collect() }.offsets()
        };
        let to = places(&spelled.output, output(site)?);
        let operands: Vec<Vec<usize>> = spelled.inputs.iter().zip(&layouts).map(|(labels, layout)| places(labels, layout)).collect();
        let place = |operand: usize, term: usize| operands.get(operand).map_or(0, |places| places[term] as u32);
        let terms = to.iter().enumerate().map(|(term, to)| (*to as u32, [place(0, term), place(1, term)])).collect();
        Ok(Implementation::Compute(Box::new(Contraction { terms, pair: operands.len() > 1 })))
    }
}
