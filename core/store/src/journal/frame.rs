//! Records in a file: a mark, the length and a checksum before each, so that reading finds its way
//! again after a damaged place.

/// Appends `record` with its header.
pub(crate) fn put(out: &mut Vec<u8>, record: &[u8]) {
    // Records are made from messages of at most 64 KB each; none comes near the limit.
    debug_assert!(record.len() <= MAX_LENGTH);
    let length = (record.len() as u32).to_le_bytes();
    out.extend_from_slice(&MARK);
    out.extend_from_slice(&length);
    out.extend_from_slice(&checksum(length, record).to_le_bytes());
    out.extend_from_slice(record);
}

/// What [`scan`] met beside records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Damage {
    /// How many places were skipped.
    pub(crate) places: usize,
    /// How many octets they had.
    pub(crate) octets: usize,
}

/// Hands each intact record in `file` to `take`, in order.
pub(crate) fn scan<'a>(mut file: &'a [u8], mut take: impl FnMut(&'a [u8])) -> Damage {
    let mut damage = Damage::default();
    let mut lost = false;
    while !file.is_empty() {
        if let Some((record, rest)) = split(file) {
            take(record);
            file = rest;
            lost = false;
            continue;
        }
        let skip = next_mark(file);
        damage.places += usize::from(!lost);
        damage.octets += skip;
        lost = true;
        file = &file[skip..];
    }
    damage
}

/// How far the next mark is, not counting one right here.
fn next_mark(file: &[u8]) -> usize {
    let later = file[1..].windows(MARK.len()).position(|w| w == MARK);
    later.map_or(file.len(), |place| place + 1)
}

fn split(file: &[u8]) -> Option<(&[u8], &[u8])> {
    let file = file.strip_prefix(&MARK)?;
    let (length, file) = file.split_first_chunk::<4>()?;
    let (sum, file) = file.split_first_chunk::<4>()?;
    let size = u32::from_le_bytes(*length) as usize;
    if size > MAX_LENGTH {
        return None;
    }
    let (record, rest) = file.split_at_checked(size)?;
    (u32::from_le_bytes(*sum) == checksum(*length, record)).then_some((record, rest))
}

fn checksum(length: [u8; 4], record: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(record);
    hasher.finalize()
}

/// Not ASCII, not valid UTF-8: it does not occur in the texts of a record.
const MARK: [u8; 4] = [0xd1, 0xa1, 0x70, 0xfe];

/// Longest record that is believed; a damaged length beyond it costs no checksum.
const MAX_LENGTH: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &[u8]) -> (Vec<&[u8]>, Damage) {
        let mut records = Vec::new();
        let damage = scan(file, |record| records.push(record));
        (records, damage)
    }

    fn three() -> Vec<u8> {
        let mut file = Vec::new();
        for record in [b"first".as_slice(), b"", b"third"] {
            put(&mut file, record);
        }
        file
    }

    #[test]
    fn whole_records_come_back() {
        let file = three();
        let (records, damage) = read(&file);
        assert_eq!(records, [b"first".as_slice(), b"", b"third"]);
        assert_eq!(damage, Damage::default());
    }

    #[test]
    fn a_file_cut_anywhere_gives_the_records_before_the_cut() {
        let file = three();
        let ends = [17, 29, 46];
        for cut in 0..=file.len() {
            let (records, damage) = read(&file[..cut]);
            let whole = ends.iter().filter(|&&end| end <= cut).count();
            assert_eq!(records.len(), whole, "cut at {cut}");
            let boundary = cut == 0 || ends.contains(&cut);
            assert_eq!(damage.places, usize::from(!boundary), "cut at {cut}");
        }
    }

    #[test]
    fn any_changed_octet_costs_one_record_only() {
        for place in 0..three().len() {
            let mut file = three();
            file[place] ^= 0x20;
            let (records, damage) = read(&file);
            assert_eq!((records.len(), damage.places), (2, 1), "octet {place}");
        }
    }

    #[test]
    fn torn_records_in_the_middle_are_skipped() {
        let mut file = Vec::new();
        put(&mut file, b"lost when the disk was full");
        file.truncate(20);
        file.extend_from_slice(&three());
        let (records, damage) = read(&file);
        assert_eq!(
            (records.len(), damage),
            (
                3,
                Damage {
                    places: 1,
                    octets: 20
                }
            )
        );
    }
}
