//! Numbers that follow their gradients where they are: they and the moments of Adam stay on the device.

use candle_core::{CpuStorage, Device, InplaceOp3, Layout, Result, Tensor};

use crate::execution::Motion;
use crate::execution::adam::{Adam, Decay, Pace, Step};
use crate::kernels::Isa;

/// Numbers, with what Adam keeps of them.
pub struct Tuned {
    /// `[3, count]`: the numbers, their first and their second moments. Changed in place.
    state: Tensor,
    shape: Vec<usize>,
    pace: Pace,
    /// What it holds are rows of `constants`.
    pub motion: Motion<()>,
    /// `[rows, period]`, one row at least; what the motion holds is that of element i % period.
    constants: Tensor,
    isa: Isa,
}

impl Tuned {
    /// # Errors
    /// If `elements` do not fit `shape`, or the device has no memory.
    pub fn new(elements: &[f32], shape: &[usize], motion: &Motion<&[f32]>, decay: Decay, device: &Device, isa: Isa) -> Result<Self> {
        let rows = match motion {
            Motion::InUnits(unit) => vec![*unit],
            Motion::Within { low, high } => vec![*low, *high],
            _ => vec![&[0.0f32][..]],
        };
        let constants = Tensor::from_vec(rows.concat(), (rows.len(), ()), device)?;
        let blank = vec![0.0; 2 * elements.len()];
        let state = Tensor::from_vec([elements, &blank].concat(), (3, shape.iter().product::<usize>()), device)?;
        Ok(Tuned { state, shape: shape.to_vec(), pace: Pace::new(decay), motion: motion.map(|_| ()), constants, isa })
    }

    /// The numbers. They share memory with what [`Tuned::step`] changes.
    ///
    /// # Errors
    /// If the device fails.
    pub fn value(&self) -> Result<Tensor> {
        self.state.narrow(0, 0, 1)?.reshape(self.shape.as_slice())
    }

    /// Moves against `gradient`.
    ///
    /// # Errors
    /// If the device fails.
    pub fn step(&mut self, gradient: &Tensor, rate: f32) -> Result<()> {
        let advance = Advance { step: self.pace.next(rate), motion: self.motion, isa: self.isa };
        let gradient = gradient.flatten_all()?.contiguous()?;
        if !self.state.device().is_metal() {
            return self.state.inplace_op3(&gradient, &self.constants, &advance);
        }
        // There is no kernel for Metal: what moves is brought to the CPU and back.
        let [state, gradient, constants] = [&self.state, &gradient, &self.constants].map(|tensor| tensor.to_device(&Device::Cpu));
        let state = state?;
        state.inplace_op3(&gradient?, &constants?, &advance)?;
        self.state = state.to_device(self.state.device())?;
        Ok(())
    }

    /// Puts other numbers in place of these; their moments stay.
    ///
    /// # Errors
    /// If they are not as many.
    pub fn set(&mut self, elements: &[f32]) -> Result<()> {
        let moments = self.state.narrow(0, 1, 2)?;
        let elements = Tensor::from_slice(elements, (1, moments.dim(1)?), moments.device())?;
        self.state = Tensor::cat(&[elements, moments], 0)?.contiguous()?;
        Ok(())
    }

    /// What Adam keeps.
    ///
    /// # Errors
    /// If the device fails.
    pub fn adam(&self) -> Result<Adam> {
        let row = |index: usize| self.state.get(index)?.to_vec1();
        Ok(Adam { first: row(1)?, second: row(2)?, pace: self.pace })
    }

    /// Goes on from what [`Tuned::adam`] was.
    ///
    /// # Errors
    /// If it is of other numbers.
    pub fn restore(&mut self, adam: &Adam) -> Result<()> {
        let elements = self.state.narrow(0, 0, 1)?;
        let count = elements.dim(1)?;
        let moments = [&adam.first, &adam.second].map(|moment| Tensor::from_slice(moment, (1, count), elements.device()));
        let [first, second] = moments;
        self.state = Tensor::cat(&[elements, first?, second?], 0)?.contiguous()?;
        self.pace = adam.pace;
        Ok(())
    }
}

/// One step of `[3, count]` by a gradient of as many elements, with constants `[rows, period]`.
struct Advance {
    step: Step,
    motion: Motion<()>,
    isa: Isa,
}

impl InplaceOp3 for Advance {
    fn name(&self) -> &'static str {
        "adam"
    }

    fn cpu_fwd(
        &self,
        state: &mut CpuStorage,
        state_layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
        constants: &CpuStorage,
        constants_layout: &Layout,
    ) -> Result<()> {
        let CpuStorage::F32(state) = state else { candle_core::bail!("what moves is no f32") };
        let (start, end) = bounds(state_layout)?;
        let state = &mut state[start..end];
        let count = state.len() / 3;
        let (x, moments) = state.split_at_mut(count);
        let (first, second) = moments.split_at_mut(count);
        let constants = elements(constants, constants_layout)?;
        let (low, high) = constants.split_at(constants.len() / 2);
        let motion = match self.motion {
            Motion::InUnits(()) => Motion::InUnits(constants),
            Motion::Within { .. } => Motion::Within { low, high },
            other => other.map(|()| constants),
        };
        self.step.advance([x, first, second], elements(gradient, gradient_layout)?, &motion, self.isa);
        Ok(())
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        state: &mut candle_core::CudaStorage,
        state_layout: &Layout,
        gradient: &candle_core::CudaStorage,
        gradient_layout: &Layout,
        constants: &candle_core::CudaStorage,
        constants_layout: &Layout,
    ) -> Result<()> {
        let period = constants_layout.shape().dims2()?.1;
        let state = (state, bounds(state_layout)?);
        super::cuda::advance(state, [(gradient, gradient_layout), (constants, constants_layout)], period, &self.step, &self.motion)
    }
}

/// Where the elements of a contiguous tensor lie.
fn bounds(layout: &Layout) -> Result<(usize, usize)> {
    layout.contiguous_offsets().ok_or_else(|| candle_core::Error::Msg("a step needs contiguous tensors".into()))
}

fn elements<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let (start, end) = bounds(layout)?;
    Ok(&storage.as_slice::<f32>()?[start..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execution::Push;
    use crate::execution::adam::Moment;
    use crate::execution::candle::tests::devices;
    use crate::random::Random;

    /// Numbers of three samples of a period of 35.
    const SHAPE: [usize; 3] = [3, 7, 5];

    fn motions() -> [Motion<Vec<f32>>; 5] {
        let of = |from: f32| (0..35).map(|i| from + 0.01 * i as f32).collect::<Vec<f32>>();
        [
            Motion::Free,
            Motion::InUnits(of(0.5)),
            Motion::Within { low: of(-0.8), high: of(0.3) },
            Motion::Multiply { most: 1.2 },
            Motion::Round(Push::default()),
        ]
    }

    #[test]
    fn steps_on_a_device_are_those_of_the_cpu() {
        let device = devices()[0].open().unwrap().swap_remove(0);
        for motion in motions() {
            let mut random = Random::new(3, 0);
            let mut draw = |scale: f32| (0..105).map(|_| scale * random.normal()).collect::<Vec<f32>>();
            let (mut x, isa) = (draw(1.0), Isa::detect());
            let held = motion.map(Vec::as_slice);
            let mut tuned = Tuned::new(&x, &SHAPE, &held, Decay::USUAL, &device, isa).unwrap();
            let mut adam = Adam::new(x.len(), Decay::USUAL);
            for step in 0..12 {
                let (gradient, moment) = (draw(0.1), Moment { step, of: 12 });
                let push = Push { beta: 20.0 - step as f32, strength: 0.1 * step as f32 };
                let mut now = held;
                now.push(push);
                tuned.motion.push(push);
                adam.step(&mut x, &gradient, &now, 0.1 * moment.rate(), isa);
                tuned.step(&Tensor::from_vec(gradient, &SHAPE, &device).unwrap(), 0.1 * moment.rate()).unwrap();
                if step == 6 {
                    // As if it had been kept and taken up again.
                    let (kept, numbers) = (tuned.adam().unwrap(), tuned.value().unwrap().flatten_all().unwrap().to_vec1().unwrap());
                    tuned = Tuned::new(&draw(1.0), &SHAPE, &held, Decay::SHORT, &device, isa).unwrap();
                    tuned.set(&numbers).unwrap();
                    tuned.restore(&kept).unwrap();
                }
            }
            let kept = tuned.adam().unwrap();
            let value = tuned.value().unwrap();
            assert_eq!(value.dims(), SHAPE);
            let found = [value.flatten_all().unwrap().to_vec1().unwrap(), kept.first, kept.second];
            for (wanted, found) in [x, adam.first, adam.second].iter().zip(found) {
                assert!(
                    wanted.iter().zip(&found).all(|(a, b)| (a - b).abs() <= 1e-5 * a.abs().max(0.1)),
                    "{motion:?}: {wanted:?}, {found:?}"
                );
            }
            assert_eq!(adam.pace, kept.pace);
        }
    }
}
