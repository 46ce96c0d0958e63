//! Kernels of our own on CUDA, compiled from `kernels.cu` when a card is first used.

use std::sync::OnceLock;

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{CudaView, LaunchConfig, PushKernelArg};
use candle_core::cuda_backend::cudarc::nvrtc::{Ptx, compile_ptx};
use candle_core::cuda_backend::{CudaDevice, CudaStorage};
use candle_core::{CpuStorage, CustomOp3, Error, Layout, Result, Shape, Tensor};

use super::fused::Bend;
use crate::execution::adam::{Decay, Step};
use crate::execution::{Motion, Push};

const SOURCE: &str = include_str!("kernels.cu");
/// Threads of a block.
const THREADS: u32 = 256;

/// Which kernel, and what it is told beside its tensors.
#[derive(Clone, Copy)]
enum Kernel {
    Affine { bend: Bend, has_shortcut: bool },
    AffineBack { bend: Bend },
    Moments,
    Pull { has_gradient: bool },
    FakeQuantize { axis: usize, low: f32, high: f32 },
    FakeQuantizeBack { axis: usize, low: f32, high: f32 },
    Keeps { seed: u32 },
}

/// See [`super::fused::affine`].
pub(super) fn affine(x: &Tensor, factors: &Tensor, shortcut: Option<&Tensor>, bend: Bend) -> Result<Tensor> {
    run(Kernel::Affine { bend, has_shortcut: shortcut.is_some() }, [x, factors, shortcut.unwrap_or(x)])
}

/// See [`super::fused::affine_back`].
pub(super) fn affine_back(gradient: &Tensor, y: &Tensor, factors: &Tensor, bend: Bend) -> Result<(Tensor, Tensor)> {
    let both = run(Kernel::AffineBack { bend }, [gradient, y, factors])?;
    Ok((both.get(0)?, both.get(1)?))
}

/// See [`super::fused::moments`].
pub(super) fn moments(x: &Tensor, means: &Tensor) -> Result<Tensor> {
    run(Kernel::Moments, [x, means, means])
}

/// See [`super::fused::pull`].
pub(super) fn pull(x: &Tensor, factors: &Tensor, gradient: Option<&Tensor>) -> Result<Tensor> {
    run(Kernel::Pull { has_gradient: gradient.is_some() }, [x, factors, gradient.unwrap_or(x)])
}

/// A quantizer and its dequantizer; `factors` are scales and zero points `[2, …]` along dimension `axis` of `x`.
pub(super) fn fake_quantize(x: &Tensor, factors: &Tensor, axis: usize, (low, high): (f32, f32)) -> Result<Tensor> {
    run(Kernel::FakeQuantize { axis, low, high }, [x, factors, factors])
}

/// The gradient of x, and what each element adds to that of its scale.
pub(super) fn fake_quantize_back(
    x: &Tensor,
    factors: &Tensor,
    gradient: &Tensor,
    axis: usize,
    (low, high): (f32, f32),
) -> Result<(Tensor, Tensor)> {
    let both = run(Kernel::FakeQuantizeBack { axis, low, high }, [x, factors, gradient])?;
    Ok((both.get(0)?, both.get(1)?))
}

/// 1 where an element of `x` `[batch, images, channels, …]` keeps its value, else 0.
pub(super) fn keeps(x: &Tensor, seed: u32) -> Result<Tensor> {
    run(Kernel::Keeps { seed }, [x, x, x])
}

fn run(kernel: Kernel, inputs: [&Tensor; 3]) -> Result<Tensor> {
    let [a, b, c] = inputs.map(Tensor::contiguous);
    a?.apply_op3_no_bwd(&b?, &c?, &kernel)
}

/// The kernels for any card, compiled once.
fn ptx() -> Result<&'static str> {
    static PTX: OnceLock<std::result::Result<String, String>> = OnceLock::new();
    let compile = || compile_ptx(SOURCE).map(|ptx: Ptx| ptx.to_src()).map_err(|error| format!("{error:?}"));
    PTX.get_or_init(compile).as_deref().map_err(|error| Error::Msg(format!("kernels do not compile: {error}")))
}

impl Kernel {
    /// Channels, and elements from one to the next.
    fn channels(self, dims: &[usize], factors: usize) -> (u32, u32) {
        let axis = match self {
            Kernel::FakeQuantize { axis, .. } | Kernel::FakeQuantizeBack { axis, .. } if factors > 1 => axis,
            Kernel::FakeQuantize { .. } | Kernel::FakeQuantizeBack { .. } => return (1, 1),
            _ => 2,
        };
        (dims[axis] as u32, dims[axis + 1..].iter().product::<usize>() as u32)
    }

    fn shape(self, dims: &[usize]) -> Vec<usize> {
        match self {
            Kernel::Affine { .. } | Kernel::Pull { .. } | Kernel::FakeQuantize { .. } | Kernel::Keeps { .. } => dims.to_vec(),
            Kernel::AffineBack { .. } | Kernel::FakeQuantizeBack { .. } => [&[2], dims].concat(),
            Kernel::Moments => vec![2, dims[0], dims[2]],
        }
    }

    fn launch(self, device: &CudaDevice, dims: &[usize], views: [CudaView<'_, f32>; 3], lengths: [usize; 3]) -> Result<CudaStorage> {
        let [a, b, c] = &views;
        let n = index(lengths[0])?;
        let shape = self.shape(dims);
        let mut to = device.alloc_zeros::<f32>(shape.iter().product())?;
        let function = device.get_or_load_custom_func(CustomOp3::name(&self), "zeroq", ptx()?)?;
        let mut launch = function.builder();
        let mut config = LaunchConfig::for_num_elems(n);
        (config.block_dim, config.grid_dim) = ((THREADS, 1, 1), (n.div_ceil(THREADS).max(1), 1, 1));
        let factors = if matches!(self, Kernel::FakeQuantizeBack { .. } | Kernel::FakeQuantize { .. }) { lengths[1] / 2 } else { 2 };
        let (channels, inner) = self.channels(dims, factors);
        let (batch, images) = (dims[0] as u32, dims.get(1).copied().unwrap_or(1) as u32);
        let (rows, sample) = ((lengths[1] / 2 / channels.max(1) as usize) as u32, n / batch.max(1));
        let flag;
        let done = match &self {
            Kernel::Affine { bend: Bend { alpha, low, high }, has_shortcut } => {
                flag = u32::from(*has_shortcut);
                launch.arg(a).arg(b).arg(c).arg(&mut to).arg(&n).arg(&channels).arg(&inner).arg(alpha).arg(low).arg(high).arg(&flag);
                config
            }
            Kernel::AffineBack { bend: Bend { alpha, low, high } } => {
                launch.arg(a).arg(b).arg(c).arg(&mut to).arg(&n).arg(&channels).arg(&inner).arg(alpha).arg(low).arg(high);
                config
            }
            Kernel::Moments => {
                launch.arg(a).arg(b).arg(&mut to).arg(&batch).arg(&images).arg(&channels).arg(&inner);
                LaunchConfig { grid_dim: (batch * channels, 1, 1), shared_mem_bytes: 2 * THREADS * size_of::<f32>() as u32, ..config }
            }
            Kernel::Pull { has_gradient } => {
                flag = u32::from(*has_gradient);
                launch.arg(a).arg(b).arg(c).arg(&mut to).arg(&n).arg(&channels).arg(&inner).arg(&rows).arg(&sample).arg(&flag);
                config
            }
            Kernel::FakeQuantize { low, high, .. } => {
                launch.arg(a).arg(b).arg(&mut to).arg(&n).arg(&channels).arg(&inner).arg(low).arg(high);
                config
            }
            Kernel::FakeQuantizeBack { low, high, .. } => {
                launch.arg(a).arg(b).arg(c).arg(&mut to).arg(&n).arg(&channels).arg(&inner).arg(low).arg(high);
                config
            }
            Kernel::Keeps { seed } => {
                launch.arg(a).arg(&mut to).arg(&n).arg(&channels).arg(&inner).arg(&sample).arg(seed);
                config
            }
        };
        // SAFETY: arguments are those of the kernel of this name in kernels.cu, in its order; every index that it makes is below
        // the lengths that these numbers were computed from.
        #[allow(unsafe_code)]
        unsafe { launch.launch(done) }.map_err(Error::wrap)?;
        Ok(CudaStorage::wrap_cuda_slice(to, device.clone()))
    }
}

impl CustomOp3 for Kernel {
    fn name(&self) -> &'static str {
        match self {
            Kernel::Affine { .. } => "affine",
            Kernel::AffineBack { .. } => "affine_back",
            Kernel::Moments => "moments",
            Kernel::Pull { .. } => "pull",
            Kernel::FakeQuantize { .. } => "fake_quantize",
            Kernel::FakeQuantizeBack { .. } => "fake_quantize_back",
            Kernel::Keeps { .. } => "keeps",
        }
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        candle_core::bail!("{} runs on CUDA alone", self.name())
    }

    fn cuda_fwd(
        &self,
        a: &CudaStorage,
        a_layout: &Layout,
        b: &CudaStorage,
        b_layout: &Layout,
        c: &CudaStorage,
        c_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let layouts = [a_layout, b_layout, c_layout];
        let views = [view(a, a_layout)?, view(b, b_layout)?, view(c, c_layout)?];
        let dims = a_layout.dims();
        let storage = self.launch(&a.device().clone(), dims, views, layouts.map(|layout| layout.shape().elem_count()))?;
        Ok((storage, Shape::from(self.shape(dims))))
    }
}

/// Adam, on `state` `[3, n]` between two places of its memory, by a gradient of n elements, with constants `[rows, period]`.
pub(super) fn advance(
    (state, (start, end)): (&mut CudaStorage, (usize, usize)),
    [gradient, constants]: [(&CudaStorage, &Layout); 2],
    period: usize,
    step: &Step,
    motion: &Motion<()>,
) -> Result<()> {
    let count = (end - start) / 3;
    let none = Push::default();
    // Which one in kernels.cu, and how many rows it reads.
    let (kind, rows, most, push): (u32, usize, f32, Push) = match motion {
        Motion::Free => (0, 0, 0.0, none),
        Motion::InUnits(()) => (1, 1, 0.0, none),
        Motion::Within { .. } => (2, 2, 0.0, none),
        Motion::Multiply { most } => (3, 0, *most, none),
        Motion::Round(push) => (4, 0, 0.0, *push),
    };
    let [gradients, held] = [gradient, constants].map(|(_, layout)| layout.shape().elem_count());
    if count * 3 != end - start || gradients != count || period == 0 || held < rows * period {
        candle_core::bail!("a step of {count} numbers with {gradients} gradients and {held} constants");
    }
    let (n, period) = (index(count)?, index(period)?);
    let (Decay(keep_first, keep_second), (correct_first, correct_second)) = (step.decay, step.correction);
    let device = state.device().clone();
    let (gradient, constants) = (view(gradient.0, gradient.1)?, view(constants.0, constants.1)?);
    let mut state = state.as_cuda_slice_mut::<f32>()?.slice_mut(start..end);
    let function = device.get_or_load_custom_func("adam", "zeroq", ptx()?)?;
    let mut launch = function.builder();
    launch.arg(&mut state).arg(&gradient).arg(&constants).arg(&n).arg(&period).arg(&kind);
    launch.arg(&keep_first).arg(&keep_second).arg(&correct_first).arg(&correct_second);
    launch.arg(&step.rate).arg(&most).arg(&push.beta).arg(&push.strength);
    let config = LaunchConfig { block_dim: (THREADS, 1, 1), grid_dim: (n.div_ceil(THREADS).max(1), 1, 1), shared_mem_bytes: 0 };
    // SAFETY: arguments are those of `adam` in kernels.cu, in its order; state has 3n elements, gradient n, and constants as many
    // rows of a period as the motion reads.
    #[allow(unsafe_code)]
    unsafe { launch.launch(config) }.map_err(Error::wrap)?;
    Ok(())
}

fn index(count: usize) -> Result<u32> {
    u32::try_from(count).map_err(|_| Error::Msg("a tensor has more than 2³² elements".into()))
}

fn view<'a>(storage: &'a CudaStorage, layout: &Layout) -> Result<CudaView<'a, f32>> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(storage.as_cuda_slice::<f32>()?.slice(start..end)),
        None => candle_core::bail!("a kernel needs contiguous tensors"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_compile_and_have_the_names_that_are_asked_for() {
        let ptx = ptx().unwrap();
        for kernel in [
            Kernel::Affine { bend: Bend { alpha: 0.0, low: 0.0, high: 1.0 }, has_shortcut: false },
            Kernel::AffineBack { bend: Bend { alpha: 0.0, low: 0.0, high: 1.0 } },
            Kernel::Moments,
            Kernel::Pull { has_gradient: false },
            Kernel::FakeQuantize { axis: 1, low: 0.0, high: 1.0 },
            Kernel::FakeQuantizeBack { axis: 1, low: 0.0, high: 1.0 },
            Kernel::Keeps { seed: 1 },
        ] {
            assert!(ptx.contains(&format!(".visible .entry {}(", CustomOp3::name(&kernel))));
        }
        assert!(ptx.contains(".visible .entry adam("));
    }
}
