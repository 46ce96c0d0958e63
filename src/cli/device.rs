//! Which device images are synthesized on and networks are tuned on.

use std::str::FromStr;

use crate::error::{Error, Result};
use crate::execution::{Cards, Device};
use crate::progress::Progress;

/// What the user asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// A card, if the binary can use one and it answers; else the CPU.
    #[default]
    Auto,
    Cpu,
    /// The first card, or the one of this number.
    Cuda(Option<usize>),
    Metal,
    /// The engine for cards on the CPU: slow, to be compared with.
    Tensors,
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse().ok().filter(|number| *number < 64);
        match text {
            "auto" => Ok(DeviceChoice::Auto),
            "cpu" => Ok(DeviceChoice::Cpu),
            "metal" => Ok(DeviceChoice::Metal),
            "cuda" => Ok(DeviceChoice::Cuda(None)),
            "tensors" => Ok(DeviceChoice::Tensors),
            _ => match text.strip_prefix("cuda:").map(number) {
                Some(Some(number)) => Ok(DeviceChoice::Cuda(Some(number))),
                _ => Err("expected auto, cpu, cuda, cuda:N or metal".into()),
            },
        }
    }
}

impl DeviceChoice {
    /// The device that is used; `devices` are the numbers of the cards that share the work. Says so unless that is the CPU of a
    /// binary for the CPU.
    ///
    /// # Errors
    /// If the binary was built without the device, it does not answer, or `devices` do not fit.
    pub fn resolve(self, devices: &[usize], progress: &dyn Progress) -> Result<Device> {
        let cards = match (self, Cards::new(devices.iter().copied())) {
            (DeviceChoice::Auto | DeviceChoice::Cuda(None), Some(cards)) => return answering(Device::Cuda(cards), progress),
            (_, Some(_)) => return Err(Error::Usage("--devices names CUDA cards: use it alone or with --device cuda".into())),
            (DeviceChoice::Cuda(number), None) => Cards::new(number.or(Some(0))),
            _ => Cards::new([0]),
        };
        let cuda = cards.map_or(Device::Cpu, Device::Cuda);
        match self {
            DeviceChoice::Cpu => Ok(Device::Cpu),
            DeviceChoice::Cuda(_) => answering(cuda, progress),
            DeviceChoice::Metal => answering(Device::Metal, progress),
            DeviceChoice::Tensors => answering(Device::Tensors(1), progress),
            DeviceChoice::Auto if cfg!(feature = "cuda") => Ok(answering_or_cpu(cuda, progress)),
            DeviceChoice::Auto if cfg!(feature = "metal") => Ok(answering_or_cpu(Device::Metal, progress)),
            DeviceChoice::Auto => Ok(Device::Cpu),
        }
    }
}

fn answering_or_cpu(device: Device, progress: &dyn Progress) -> Device {
    answering(device, progress).unwrap_or_else(|error| {
        progress.warn(&format!("the CPU is used: {error}"));
        Device::Cpu
    })
}

fn answering(device: Device, progress: &dyn Progress) -> Result<Device> {
    let features = [cfg!(feature = "cuda"), cfg!(feature = "metal"), cfg!(feature = "candle")];
    let is_built = match device {
        Device::Cuda(_) => features[0],
        Device::Metal => features[1],
        Device::Cpu | Device::Tensors(_) => features[2],
    };
    if !is_built {
        return Err(device.is_not_built());
    }
    #[cfg(feature = "candle")]
    device.open()?;
    progress.note(&format!("images are synthesized and networks tuned on {device}"));
    Ok(device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    #[test]
    fn devices_are_named_as_the_help_says() {
        assert_eq!("cuda:3".parse(), Ok(DeviceChoice::Cuda(Some(3))));
        assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(None)));
        for wrong in ["gpu", "cuda:", "cuda:64", "cuda:-1", ""] {
            assert!(wrong.parse::<DeviceChoice>().unwrap_err().contains("cuda:N"), "{wrong}");
        }
    }

    #[test]
    fn cards_are_for_cuda_alone() {
        for choice in [DeviceChoice::Cpu, DeviceChoice::Metal, DeviceChoice::Cuda(Some(1))] {
            assert!(choice.resolve(&[0, 1], &Silent).unwrap_err().to_string().contains("--devices"));
        }
        assert_eq!(DeviceChoice::Cpu.resolve(&[], &Silent).unwrap(), Device::Cpu);
    }

    #[cfg(not(any(feature = "cuda", feature = "metal")))]
    #[test]
    fn a_binary_for_the_cpu_says_what_it_lacks() {
        assert_eq!(DeviceChoice::Auto.resolve(&[], &Silent).unwrap(), Device::Cpu);
        for choice in [DeviceChoice::Cuda(None), DeviceChoice::Metal] {
            assert!(choice.resolve(&[], &Silent).unwrap_err().to_string().contains("built without it"));
        }
        assert!(DeviceChoice::Auto.resolve(&[0, 1], &Silent).unwrap_err().to_string().contains("cuda:0,1"));
    }
}
