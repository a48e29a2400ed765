//! Checks of a plugin file before the system's loader opens it.
//!
//! The loader runs code of the file, and a damaged file kills the process with SIGBUS. So the file is
//! read once and checked as bytes, and a copy named by its hash is loaded: the code that runs is the
//! code that was checked, and replacing the original later has no effect.

use std::fs;
use std::path::{Path, PathBuf};

use hogsend_plugin_api::abi::HEADER_PREFIX;
use object::read::elf::{ElfFile64, FileHeader as _, ProgramHeader as _, SectionHeader as _};
use object::{Endianness, Object as _, ObjectSymbol as _, elf};
use sha2::{Digest, Sha256};

use super::Problem;
use super::copies::LibraryCopy;
use super::lock::{LOCK_FILE, Lock};

/// Libraries that every installation has. Others may be missing on another machine.
const NEEDED: &[&str] = &[
    "libc.so",
    "libm.so",
    "libgcc_s.so",
    "libpthread.so",
    "libdl.so",
    "librt.so",
    "ld-linux",
];

/// A file that may be loaded.
#[derive(Clone, Debug)]
pub struct Checked {
    pub original: PathBuf,
    /// The copy to load.
    pub copy: LibraryCopy,
    pub sha256: String,
    /// The one exported header.
    pub symbol: String,
}

/// A file's content and its hash.
pub struct Read {
    pub original: PathBuf,
    pub bytes: Vec<u8>,
    pub sha256: String,
}

/// Reads a file.
pub fn read(file: &Path) -> Result<Read, Problem> {
    let unreadable = |error: std::io::Error| {
        Problem::of_file(
            "PLUGIN-001",
            file,
            format!("cannot be read ({error}): check its path and permissions"),
        )
    };
    let original = file.canonicalize().map_err(unreadable)?;
    if !fs::metadata(&original).map_err(unreadable)?.is_file() {
        return Err(Problem::of_file(
            "PLUGIN-001",
            file,
            "is not a file: remove it from the plugin folder",
        ));
    }
    let bytes = fs::read(&original).map_err(unreadable)?;
    let sha256 = hex::encode(Sha256::digest(&bytes));
    Ok(Read {
        original,
        bytes,
        sha256,
    })
}

/// Checks a file that was read and copies it into `cache_dir`. `lock` is the lock of its folder, if it has
/// one.
pub fn check(file: Read, lock: Option<&Lock>, cache_dir: &Path) -> Result<Checked, Problem> {
    let Read {
        original,
        bytes,
        sha256,
    } = file;
    if lock.is_some_and(|lock| !lock.allows(&sha256)) {
        let message = format!(
            "its SHA-256 {sha256} is not in {LOCK_FILE}: if the file is the one you want, run \
             `hogsend plugin lock`"
        );
        return Err(Problem::of_file("PLUGIN-012", &original, message));
    }
    let symbol = library_header(&bytes)
        .map_err(|(code, message)| Problem::of_file(code, &original, message))?;
    let copy = LibraryCopy::store(&original, &bytes, &sha256, cache_dir).map_err(|error| {
        Problem::of_file(
            "PLUGIN-001",
            &original,
            format!(
                "cannot be copied to {} ({error}): make the data folder writable",
                cache_dir.display()
            ),
        )
    })?;
    Ok(Checked {
        original,
        copy,
        sha256,
        symbol,
    })
}

type Refusal = (&'static str, String);

/// Checks one property of a file.
type Check = fn(&Elf<'_>) -> Result<(), Refusal>;

/// What a file has to be before its code may run, in the order of the checks: a later one relies on
/// the earlier ones.
const CHECKS: &[Check] = &[
    processor,
    segments_in_file,
    sections_in_file,
    shared_library,
    one_header,
    common_libraries,
];

/// Checks that the bytes are a whole shared library of this machine with one plugin header, and
/// returns the header's name.
pub fn library_header(bytes: &[u8]) -> Result<String, Refusal> {
    let elf = Elf::parse(bytes)?;
    for check in CHECKS {
        check(&elf)?;
    }
    let header = elf.headers().first().map(|name| (*name).to_owned());
    header.ok_or_else(|| not_a_plugin(NO_HEADER))
}

/// A file whose tables can be read.
struct Elf<'a> {
    file: ElfFile64<'a, Endianness>,
    segments: &'a [elf::ProgramHeader64<Endianness>],
    sections: &'a [elf::SectionHeader64<Endianness>],
    /// In bytes.
    size: u64,
}

impl<'a> Elf<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, Refusal> {
        if bytes.is_empty() {
            return Err(not_a_plugin("it is empty"));
        }
        if !bytes.starts_with(&elf::ELFMAG) {
            return Err(not_a_plugin("it is no ELF file"));
        }
        let unreadable = |error: object::read::Error| damaged(&error.to_string());
        let file = ElfFile64::<Endianness>::parse(bytes).map_err(unreadable)?;
        let header = file.elf_header();
        let endian = file.endian();
        let segments = header.program_headers(endian, bytes).map_err(unreadable)?;
        let sections = header.section_headers(endian, bytes).map_err(unreadable)?;
        Ok(Self {
            file,
            segments,
            sections,
            size: bytes.len() as u64,
        })
    }

    fn holds(&self, offset: u64, length: u64) -> bool {
        let end = offset.checked_add(length);
        end.is_some_and(|end| end <= self.size)
    }

    /// The names of the plugin headers it exports.
    fn headers(&self) -> Vec<&str> {
        self.file
            .dynamic_symbols()
            .filter(|symbol| symbol.is_definition())
            .filter_map(|symbol| symbol.name().ok())
            .filter(|name| name.starts_with("hogsend_plugin_header_v"))
            .collect()
    }
}

const NO_HEADER: &str = "it exports no plugin header";

fn not_a_plugin(reason: &str) -> Refusal {
    let message = format!(
        "is not a plugin library ({reason}): build one with `cargo build --release` and `crate-type = [\"cdylib\"]`"
    );
    ("PLUGIN-002", message)
}

fn damaged(reason: &str) -> Refusal {
    let message = format!("is truncated or damaged ({reason}): copy it again");
    ("PLUGIN-003", message)
}

fn processor(elf: &Elf<'_>) -> Result<(), Refusal> {
    let machine = elf.file.elf_header().e_machine(elf.file.endian());
    if machine == MACHINE {
        return Ok(());
    }
    let message = format!(
        "was built for another processor (ELF machine {}, this host is {}): build it for {}",
        machine.0,
        MACHINE.0,
        std::env::consts::ARCH
    );
    Err(("PLUGIN-004", message))
}

fn segments_in_file(elf: &Elf<'_>) -> Result<(), Refusal> {
    let endian = elf.file.endian();
    let mut segments = elf.segments.iter();
    match segments.all(|one| elf.holds(one.p_offset(endian), one.p_filesz(endian))) {
        true => Ok(()),
        false => Err(damaged("a segment ends beyond the file")),
    }
}

fn sections_in_file(elf: &Elf<'_>) -> Result<(), Refusal> {
    let endian = elf.file.endian();
    let in_file =
        |section: &&elf::SectionHeader64<Endianness>| section.sh_type(endian) != elf::SHT_NOBITS;
    let mut sections = elf.sections.iter().filter(in_file);
    match sections.all(|one| elf.holds(one.sh_offset(endian), one.sh_size(endian))) {
        true => Ok(()),
        false => Err(damaged("a section ends beyond the file")),
    }
}

fn shared_library(elf: &Elf<'_>) -> Result<(), Refusal> {
    let endian = elf.file.endian();
    let mut segments = elf.segments.iter();
    let dynamic = elf.file.elf_header().e_type(endian) == elf::ET_DYN;
    match dynamic && !segments.any(|one| one.p_type(endian) == elf::PT_INTERP) {
        true => Ok(()),
        false => Err(not_a_plugin("it is a program or an object file")),
    }
}

fn one_header(elf: &Elf<'_>) -> Result<(), Refusal> {
    match elf.headers().as_slice() {
        [one] if one.starts_with(HEADER_PREFIX) => Ok(()),
        [one] => {
            let message = format!(
                "has another ABI ('{one}', this host reads '{HEADER_PREFIX}…'): build the plugin again \
                 with hogsend-plugin-api {}, or get that build from its author",
                hogsend_plugin_api::abi::API_VERSION
            );
            Err(("PLUGIN-007", message))
        }
        [] => Err(not_a_plugin(NO_HEADER)),
        _ => Err(not_a_plugin("it exports several plugin headers")),
    }
}

fn common_libraries(elf: &Elf<'_>) -> Result<(), Refusal> {
    let mut libraries = needed(&elf.file).into_iter();
    let common = |library: &str| NEEDED.iter().any(|known| library.starts_with(known));
    match libraries.find(|library| !common(library)) {
        None => Ok(()),
        Some(library) => {
            let message = format!(
                "needs the library '{library}', which not every machine has: link it statically (and build without `prefer-dynamic`)"
            );
            Err(("PLUGIN-005", message))
        }
    }
}

/// The libraries that the file needs from the system.
fn needed<'a>(file: &ElfFile64<'a, Endianness>) -> Vec<&'a str> {
    let endian = file.endian();
    let sections = file.elf_section_table();
    let Ok(Some((entries, strings))) = sections.dynamic(endian, file.data()) else {
        return Vec::new();
    };
    let Ok(strings) = sections.strings(endian, file.data(), strings) else {
        return Vec::new();
    };
    use object::read::elf::Dyn as _;
    entries
        .iter()
        .filter(|entry| entry.tag(endian) == elf::DT_NEEDED)
        .filter_map(|entry| strings.get(u32::try_from(entry.val(endian)).ok()?).ok())
        .filter_map(|name| std::str::from_utf8(name).ok())
        .collect()
}

#[cfg(target_arch = "x86_64")]
const MACHINE: elf::Machine = elf::EM_X86_64;
#[cfg(target_arch = "aarch64")]
const MACHINE: elf::Machine = elf::EM_AARCH64;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const MACHINE: elf::Machine = elf::EM_NONE;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::super::lock::Lock;
    use super::{Checked, Problem, check, read};

    /// A real shared library that is no plugin.
    fn library() -> Vec<u8> {
        let found = [
            "/lib/x86_64-linux-gnu/libm.so.6",
            "/lib/aarch64-linux-gnu/libm.so.6",
            "/usr/lib64/libm.so.6",
        ];
        let path = found
            .into_iter()
            .find(|path| Path::new(path).exists())
            .expect("a C library");
        fs::read(path).unwrap()
    }

    fn checked(file: &Path, lock: Option<&Lock>, cache: &Path) -> Result<Checked, Problem> {
        check(read(file)?, lock, cache)
    }

    fn refusal(bytes: &[u8], lock: Option<&Lock>) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("libx.so");
        fs::write(&file, bytes).unwrap();
        checked(&file, lock, &folder.path().join("cache"))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn what_is_no_plugin_is_refused_with_file_reason_and_fix() {
        let whole = library();
        let mut other_machine = whole.clone();
        other_machine[18] ^= 0x55;
        let program = fs::read("/bin/true").unwrap();
        for (bytes, code, reason) in [
            (b"".to_vec(), "PLUGIN-002", "empty"),
            (b"just a text".to_vec(), "PLUGIN-002", "no ELF file"),
            (b"\x7fELF".to_vec(), "PLUGIN-003", "copy it again"),
            (whole[..4_096].to_vec(), "PLUGIN-003", "copy it again"),
            (
                whole[..whole.len() / 2].to_vec(),
                "PLUGIN-003",
                "copy it again",
            ),
            (
                whole[..whole.len() - 100].to_vec(),
                "PLUGIN-003",
                "copy it again",
            ),
            (other_machine, "PLUGIN-004", "another processor"),
            (program, "PLUGIN-002", "a program"),
            (whole.clone(), "PLUGIN-002", "exports no plugin header"),
        ] {
            let message = refusal(&bytes, None);
            assert!(
                message.starts_with(code)
                    && message.contains("libx.so")
                    && message.contains(reason),
                "{message}"
            );
            assert!(!message.contains('\n'));
        }
        assert!(refusal(&whole, Some(&Lock::default())).starts_with("PLUGIN-012"));
    }

    #[test]
    fn folders_and_missing_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("cache");
        let directory = folder.path().join("dir.so");
        fs::create_dir(&directory).unwrap();
        assert_eq!(
            checked(&directory, None, &cache).unwrap_err().code,
            "PLUGIN-001"
        );
        assert_eq!(
            checked(&folder.path().join("none.so"), None, &cache)
                .unwrap_err()
                .code,
            "PLUGIN-001"
        );
    }
}
