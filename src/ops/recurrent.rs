//! LSTM, GRU and RNN.

use super::attributes::{Attribute, Attributes};
use super::operator::{Fact, Facts, Implementation, Kernel, Operator, Refusal, Site};
use super::reordered::row_major;
use super::unary::numeric;
use super::{NodeForm, Parsed};
use crate::graph::Dim;
use crate::kernels::recurrent::{
    BIASES, Cell, Direction, FIRST_CELL, FIRST_HIDDEN, LENGTHS, PEEPHOLES, RECURRENT, Recurrent as RecurrentKernel, SEQUENCE, Squash,
    WEIGHTS, Wanted,
};

/// A cell that goes over a sequence, `[steps, N, inputs]`, forth, back, or both ways. Inputs as in [`crate::kernels::recurrent`];
/// outputs: all hidden states, `[steps, directions, N, hidden]`, the last hidden states and, of an LSTM, the last cell states.
#[derive(Clone, Debug, PartialEq)]
pub struct Recurrent {
    pub cell: Cell,
    /// Whether each pass goes backwards.
    pub directions: Vec<bool>,
    /// Names of the functions in the cell, as many as it has, for each pass; the usual ones if not said.
    pub activations: Option<Vec<String>>,
    /// Their parameters, where they are not the usual ones.
    pub alphas: Vec<f32>,
    pub betas: Vec<f32>,
    pub clip: Option<f32>,
    /// Whether the batch is the first dimension of sequence and states.
    pub batch_first: bool,
    /// Length of a state, which the weights tell too.
    pub hidden_size: Option<i64>,
}

const DIRECTIONS: [(&str, &[bool]); 3] = [("forward", &[false]), ("reverse", &[true]), ("bidirectional", &[false, true])];

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse_lstm(form: NodeForm) -> Result<Parsed, Refusal> {
    let mut attributes = form.attributes;
    let input_forget = attributes.take_int("input_forget", 0)? != 0;
    Recurrent::parse(attributes, Cell::Lstm { input_forget })
}

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse_gru(form: NodeForm) -> Result<Parsed, Refusal> {
    let mut attributes = form.attributes;
    let linear_before_reset = attributes.take_int("linear_before_reset", 0)? != 0;
    Recurrent::parse(attributes, Cell::Gru { linear_before_reset })
}

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse_rnn(form: NodeForm) -> Result<Parsed, Refusal> {
    Recurrent::parse(form.attributes, Cell::Simple)
}

/// The functions that a cell has if nothing is said.
fn usual(cell: Cell) -> &'static [&'static str] {
    match cell {
        Cell::Simple => &["Tanh"],
        Cell::Gru { .. } => &["Sigmoid", "Tanh"],
        Cell::Lstm { .. } => &["Sigmoid", "Tanh", "Tanh"],
    }
}

/// The function named `name`; its parameters are the next of `alphas` and `betas`, if they go on, else the usual ones.
fn squash<'a>(
    name: &str,
    alphas: &mut impl Iterator<Item = &'a f32>,
    betas: &mut impl Iterator<Item = &'a f32>,
) -> Result<Squash, Refusal> {
    let mut alpha = |usual: f32| alphas.next().copied().unwrap_or(usual);
    let mut beta = |usual: f32| betas.next().copied().unwrap_or(usual);
    Ok(match name.to_ascii_lowercase().as_str() {
        "relu" => Squash::Relu,
        "tanh" => Squash::Tanh,
        "sigmoid" => Squash::Sigmoid,
        "affine" => Squash::Affine { alpha: alpha(1.0), beta: beta(0.0) },
        "leakyrelu" => Squash::LeakyRelu { alpha: alpha(0.01) },
        "thresholdedrelu" => Squash::ThresholdedRelu { alpha: alpha(1.0) },
        "scaledtanh" => Squash::ScaledTanh { alpha: alpha(1.0), beta: beta(1.0) },
        "hardsigmoid" => Squash::HardSigmoid { alpha: alpha(0.2), beta: beta(0.5) },
        "elu" => Squash::Elu { alpha: alpha(1.0) },
        "softsign" => Squash::Softsign,
        "softplus" => Squash::Softplus,
        _ => return Err(format!("activation {name} is not known")),
    })
}

fn take_floats(attributes: &mut Attributes, name: &str) -> Result<Vec<f32>, Refusal> {
    match attributes.0.remove(name) {
        None => Ok(Vec::new()),
        Some(Attribute::Floats(values)) if values.iter().all(|value| value.is_finite()) => Ok(values),
        Some(_) => Err(format!("attribute `{name}` must be a list of finite numbers")),
    }
}

impl Recurrent {
    fn parse(mut attributes: Attributes, cell: Cell) -> Result<Parsed, Refusal> {
        let direction = attributes.take_string("direction", "forward")?;
        let known = DIRECTIONS.iter().find(|(name, _)| *name == direction).map(|(_, directions)| directions.to_vec());
        let directions = known.ok_or_else(|| format!("direction={direction} is not known"))?;
        let activations = match attributes.0.remove("activations") {
            None => None,
            Some(Attribute::Strings(names)) if names.len() == usual(cell).len() * directions.len() => Some(names),
            Some(_) => return Err(format!("activations must be {} names", usual(cell).len() * directions.len())),
        };
        let [alphas, betas] = [take_floats(&mut attributes, "activation_alpha")?, take_floats(&mut attributes, "activation_beta")?];
        let clip = if attributes.0.contains_key("clip") { Some(attributes.take_float("clip", 0.0)?) } else { None };
        let hidden_size = attributes.take_optional_int("hidden_size")?;
        attributes.take_int("output_sequence", 0)?;
        let batch_first = attributes.take_int("layout", 0)? != 0;
        attributes.finish()?;
        if clip.is_some_and(|clip| clip <= 0.0) {
            return Err("clip must be positive".to_string());
        }
        let recurrent = Recurrent { cell, directions, activations, alphas, betas, clip, batch_first, hidden_size };
        recurrent.passes()?;
        Ok(Parsed::plain(recurrent))
    }

    fn passes(&self) -> Result<Vec<Direction>, Refusal> {
        let (mut alphas, mut betas) = (self.alphas.iter(), self.betas.iter());
        let named = self.activations.iter().flatten().map(String::as_str);
        let mut names = named.chain(usual(self.cell).iter().copied().cycle().filter(|_| self.activations.is_none()));
        let mut passes = Vec::with_capacity(self.directions.len());
        for reverse in &self.directions {
            let squashes = names.by_ref().take(usual(self.cell).len()).map(|name| squash(name, &mut alphas, &mut betas));
            passes.push(Direction { reverse: *reverse, squashes: squashes.collect::<Result<_, _>>()? });
        }
        Ok(passes)
    }

    /// `[steps, N, inputs]` or, batch first, `[N, steps, inputs]`, as steps, N, inputs.
    fn sorted<T: Clone>(&self, shape: &[T]) -> Result<[T; 3], Refusal> {
        match shape {
            [a, b, inputs] if self.batch_first => Ok([b.clone(), a.clone(), inputs.clone()]),
            [a, b, inputs] => Ok([a.clone(), b.clone(), inputs.clone()]),
            _ => Err(format!("a sequence of rank {} is not supported", shape.len())),
        }
    }

    /// Refuses parameters whose shapes do not fit the cell.
    fn check(&self, site: &Site<'_>, [steps, batch, inputs]: [usize; 3], hidden: usize) -> Result<(), Refusal> {
        let (count, gates) = (self.directions.len(), self.cell.gates() * hidden);
        let state = if self.batch_first { vec![batch, count, hidden] } else { vec![count, batch, hidden] };
        let wanted = [
            (WEIGHTS, vec![count, gates, inputs]),
            (RECURRENT, vec![count, gates, hidden]),
            (BIASES, vec![count, 2 * gates]),
            (LENGTHS, vec![batch]),
            (FIRST_HIDDEN, state.clone()),
            (FIRST_CELL, state),
            (PEEPHOLES, vec![count, 3 * hidden]),
        ];
        for (index, wanted) in wanted {
            if let Some(found) = site.get(index).map(|operand| &operand.layout.shape).filter(|found| **found != wanted) {
                return Err(format!("input {index} is {found:?} instead of {wanted:?} for a sequence of {steps} steps"));
            }
        }
        Ok(())
    }
}

impl Operator for Recurrent {
    fn name(&self) -> &str {
        match self.cell {
            Cell::Simple => "RNN",
            Cell::Gru { .. } => "GRU",
            Cell::Lstm { .. } => "LSTM",
        }
    }

    fn attributes(&self) -> Attributes {
        let direction = DIRECTIONS.iter().find(|(_, directions)| *directions == self.directions).map_or("forward", |(name, _)| name);
        let mut attributes = Attributes::default().string("direction", direction);
        if let Some(names) = &self.activations {
            attributes = attributes.with("activations", Attribute::Strings(names.clone()));
        }
        if let Some(size) = self.hidden_size {
            attributes = attributes.int("hidden_size", size);
        }
        for (name, values) in [("activation_alpha", &self.alphas), ("activation_beta", &self.betas)] {
            attributes = if values.is_empty() { attributes } else { attributes.with(name, Attribute::Floats(values.clone())) };
        }
        if let Some(clip) = self.clip {
            attributes = attributes.float("clip", clip);
        }
        // Operator sets below 14 do not know the attribute.
        if self.batch_first {
            attributes = attributes.int("layout", 1);
        }
        match self.cell {
            Cell::Simple => attributes,
            Cell::Gru { linear_before_reset } => attributes.int("linear_before_reset", i64::from(linear_before_reset)),
            Cell::Lstm { input_forget } => attributes.int("input_forget", i64::from(input_forget)),
        }
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let (x, _, recurrent) = (numeric(inputs, SEQUENCE)?, numeric(inputs, WEIGHTS)?, numeric(inputs, RECURRENT)?);
        let [steps, batch, _] = self.sorted(&x.shape)?;
        let hidden = recurrent.shape.last().ok_or("its recurrent weights have no dimension")?.clone();
        let directions = Dim::Known(self.directions.len());
        let (all, last) = if self.batch_first {
            (vec![batch.clone(), steps, directions.clone(), hidden.clone()], vec![batch, directions, hidden])
        } else {
            (vec![steps, directions.clone(), batch.clone(), hidden.clone()], vec![directions, batch, hidden])
        };
        let last = Fact::new(x.data_type, last);
        Ok(vec![Fact::new(x.data_type, all), last.clone(), last])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let sizes = self.sorted(&site.required(SEQUENCE)?.layout.shape)?;
        site.required(WEIGHTS)?;
        let hidden = site.required(RECURRENT)?.layout.shape.last().copied().unwrap_or(0);
        self.check(site, sizes, hidden)?;
        let [steps, batch, inputs] = sizes;
        let clip = self.clip.unwrap_or(f32::INFINITY);
        let directions = self.passes()?;
        let kernel = |(index, wanted): (usize, Wanted)| -> Box<dyn Kernel> {
            let (cell, batch_first, directions) = (self.cell, self.batch_first, directions.clone());
            row_major(site, index, RecurrentKernel { cell, wanted, directions, steps, batch, inputs, hidden, batch_first, clip })
        };
        let outputs = [Wanted::All, Wanted::LastHidden, Wanted::LastCell].into_iter().enumerate();
        Ok(Implementation::Several(outputs.map(kernel).collect()))
    }
}
