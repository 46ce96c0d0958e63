//! Parameters of a network on a device, which move there.

use std::collections::HashMap;

use candle_core::Tensor;

use super::{Network, Parameter, Tuned, numbers, tensor_error};
use crate::error::{Error, Result};
use crate::execution::adam::{Adam, Decay};
use crate::execution::{Push, Tunable, Tuning};
use crate::graph::ValueId;
use crate::kernels::Isa;
use crate::ops::operator::Layout;

/// Adds gradients of parameters, which may be on another device.
///
/// # Errors
/// If a device fails.
pub fn add_gradients(total: &mut HashMap<ValueId, Tensor>, more: HashMap<ValueId, Tensor>) -> Result<()> {
    for (value, gradient) in more {
        let sum = match total.get(&value) {
            Some(before) => gradient.to_device(before.device()).and_then(|gradient| before + gradient).map_err(tensor_error)?,
            None => gradient,
        };
        total.insert(value, sum);
    }
    Ok(())
}

impl Network {
    /// Lets [`Network::step`] move those of `tunings` that are parameters of this network.
    ///
    /// # Errors
    /// If the device has no memory for what Adam keeps.
    pub fn tune(&mut self, tunings: &[Tuning], isa: Isa) -> Result<()> {
        for Tuning { value, motion, rate } in tunings {
            let Some(elements) = self.read_parameter(*value)? else { continue };
            let (dims, motion) = (self.parameter(*value)?.dims().to_vec(), motion.map(Vec::as_slice));
            let tuned = Tuned::new(&elements, &dims, &motion, Decay::USUAL, &self.device, isa).map_err(tensor_error)?;
            self.hold(*value, tuned, *rate)?;
        }
        Ok(())
    }

    /// Moves every tuned parameter against its gradient, with `factor` of its rate.
    ///
    /// # Errors
    /// If one has no gradient, or the device fails.
    pub fn step(&mut self, gradients: &HashMap<ValueId, Tensor>, factor: f32, push: Push) -> Result<()> {
        for (value, Parameter { tuned, .. }) in &mut self.parameters {
            let Some((tuned, rate)) = tuned else { continue };
            let gradient = gradients.get(value).ok_or_else(|| Error::Internal("a parameter has no gradient".into()))?;
            tuned.motion.push(push);
            tuned.step(gradient, factor * *rate).map_err(tensor_error)?;
            self.shared.insert(*value, tuned.value().map_err(tensor_error)?);
        }
        self.is_stale = true;
        self.refresh()
    }

    /// Takes over the parameters of another network of the same graph.
    ///
    /// # Errors
    /// If the device fails.
    pub fn follow(&mut self, other: &Network) -> Result<()> {
        for value in self.parameters.keys().copied().collect::<Vec<_>>() {
            let tensor = other.parameter(value)?.to_device(self.parameter(value)?.device()).map_err(tensor_error)?;
            self.shared.insert(value, tensor);
        }
        self.is_stale = true;
        self.refresh()
    }

    /// The states of the optimizers, for [`Network::restore_optimizers`].
    ///
    /// # Errors
    /// If the device fails.
    pub fn optimizers(&self) -> Result<Vec<Adam>> {
        let tuned = self.parameters.values().filter_map(|parameter| parameter.tuned.as_ref());
        tuned.map(|(tuned, _)| tuned.adam().map_err(tensor_error)).collect()
    }

    /// # Errors
    /// If they are those of other parameters, or the device fails.
    pub fn restore_optimizers(&mut self, optimizers: &[Adam]) -> Result<()> {
        let tuned = self.parameters.iter_mut().filter_map(|(value, parameter)| Some((*value, parameter.tuned.as_mut()?)));
        for ((value, (tuned, _)), adam) in tuned.zip(optimizers) {
            tuned.restore(adam).map_err(tensor_error)?;
            self.shared.insert(value, tuned.value().map_err(tensor_error)?);
        }
        Ok(())
    }

    fn parameter(&self, value: ValueId) -> Result<&Tensor> {
        self.shared.get(&value).ok_or_else(|| Error::Internal("a parameter is not on the device".into()))
    }

    fn hold(&mut self, value: ValueId, tuned: Tuned, rate: f32) -> Result<()> {
        self.shared.insert(value, tuned.value().map_err(tensor_error)?);
        self.parameters.entry(value).and_modify(|parameter| parameter.tuned = Some((tuned, rate)));
        Ok(())
    }
}

impl Tunable for Network {
    fn read_parameter(&self, value: ValueId) -> Result<Option<Vec<f32>>> {
        if self.parameters.contains_key(&value) { numbers(self.parameter(value)?).map(Some) } else { Ok(None) }
    }

    fn write_parameter(&mut self, value: ValueId, elements: &[f32]) -> Result<()> {
        let (dims, device) = (self.parameter(value)?.dims().to_vec(), self.parameter(value)?.device().clone());
        let Some(parameter) = self.parameters.get_mut(&value) else { return Err(Error::Internal("no parameter is changed".into())) };
        let tensor = match &mut parameter.tuned {
            Some((tuned, _)) => tuned.set(elements).and_then(|()| tuned.value()),
            None => Tensor::from_slice(elements, dims, &device),
        };
        self.shared.insert(value, tensor.map_err(tensor_error)?);
        self.is_stale |= self.shared_steps.iter().any(|placed| placed.inputs.contains(&Some(value)));
        Ok(())
    }

    fn parameter_layout(&self, value: ValueId) -> Option<&Layout> {
        self.parameters.get(&value).map(|parameter| &parameter.layout)
    }

    fn refresh(&mut self) -> Result<()> {
        if std::mem::take(&mut self.is_stale) { self.share(true) } else { Ok(()) }
    }
}
