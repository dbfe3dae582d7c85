//! An ext4 image behind a loop device.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

const IMAGE_BYTES: u64 = 192 << 20;

/// Copies are repeated while something still reaches the device.
const COPY_TRIES: u32 = 20;

/// Whether this machine lets us mount one.
pub fn probe() -> Result<()> {
    let dir = tempfile::tempdir()?;
    Image::make(&dir.path().join("probe.img"))?.mount(&dir.path().join("mnt"))?;
    Ok(())
}

/// A file that holds a file system.
pub struct Image {
    path: PathBuf,
}

impl Image {
    /// A fresh file system with a journal.
    pub fn make(path: &Path) -> Result<Self> {
        File::create(path)?.set_len(IMAGE_BYTES)?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(path))?;
        Ok(Self { path: path.to_owned() })
    }

    /// Attaches and mounts it; a dirty journal is replayed. Direct I/O keeps the host's page cache out of the path to the image, and the
    /// journal's own timer does not help the writer out.
    pub fn mount(self, at: &Path) -> Result<Mounted> {
        fs::create_dir_all(at)?;
        let device = run(Command::new("losetup").args(["--direct-io=on", "-f", "--show"]).arg(&self.path))?;
        let mut mounted = Mounted { image: self.path, device, at: at.to_owned(), is_mounted: false };
        run(Command::new("mount").args(["-o", "noatime,commit=300"]).arg(&mounted.device).arg(at))?;
        mounted.is_mounted = true;
        Ok(mounted)
    }
}

/// A mounted image; unmounted and detached on drop.
pub struct Mounted {
    image: PathBuf,
    device: String,
    at: PathBuf,
    is_mounted: bool,
}

impl Mounted {
    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Unmounts in an orderly way.
    pub fn unmount(mut self) -> Result<Image> {
        run(Command::new("umount").arg(&self.at))?;
        self.is_mounted = false;
        Ok(Image { path: self.image.clone() })
    }

    /// Copies the image without unmounting or syncing: what has reached the device, at one moment between two of its writes.
    pub fn copy_as_it_is(&self, to: &Path) -> Result<Image> {
        for _ in 0..COPY_TRIES {
            let before = self.requests_written()?;
            run(Command::new("cp").arg("--sparse=always").arg(&self.image).arg(to))?;
            if self.requests_written()? == before {
                return Ok(Image { path: to.to_owned() });
            }
            sleep(Duration::from_millis(20));
        }
        bail!("the device does not come to rest")
    }

    /// Writes, discards and flushes that the device has completed, and those in flight.
    fn requests_written(&self) -> Result<Vec<u64>> {
        let name = self.device.trim_start_matches("/dev/");
        let stat = fs::read_to_string(format!("/sys/block/{name}/stat"))?;
        let fields: Vec<u64> = stat.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        // Documentation/block/stat.rst of the kernel: field 4 counts completed writes, 8 those in flight, 11 discards, 15 flushes.
        Ok([4, 8, 11, 15].iter().filter_map(|at| fields.get(*at).copied()).collect())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.is_mounted {
            let _left_mounted = run(Command::new("umount").arg(&self.at))
                .or_else(|_| run(Command::new("umount").arg("-l").arg(&self.at)));
        }
        let _left_attached = run(Command::new("losetup").arg("-d").arg(&self.device));
    }
}

fn run(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot start {name}"))?;
    ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
