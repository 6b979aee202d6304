//! How the two databases are tuned, and why.

use rocksdb::properties::CUR_SIZE_ALL_MEM_TABLES;
use rocksdb::statistics::{StatsLevel, Ticker};
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, DB, DBCompressionType, DBRecoveryMode, LogLevel, Options,
    SliceTransform, WriteBufferManager,
};

use crate::config::OdgmConfig;
use crate::key::STATE_PREFIX_BYTES;

const MIB: usize = 1024 * 1024;
/// Purged entries should die in the memtable, so it holds more than a checkpoint's worth of log.
const LOG_WRITE_BUFFER_BYTES: usize = 48 * MIB;
const STATE_WRITE_BUFFER_BYTES: usize = 24 * MIB;
const STATE_BLOCK_BYTES: usize = 8 * 1024;
const BLOOM_BITS_PER_KEY: f64 = 10.0;
const OPEN_FILES_MAX: i32 = 512;

/// What both databases share: one budget for blocks, one for unwritten data.
pub(super) struct Shared {
    cache: Cache,
    buffers: WriteBufferManager,
    create: bool,
}

impl Shared {
    /// With `create`, databases that are missing are made; otherwise they are an error.
    pub(super) fn new(config: &OdgmConfig, create: bool) -> Self {
        Self {
            create,
            cache: Cache::new_lru_cache(config.block_cache_mib.max(1) * MIB),
            // without stalls: a full budget flushes early, it does not stop the log writer
            buffers: WriteBufferManager::new_write_buffer_manager(
                config.write_buffer_mib.max(8) * MIB,
                false,
            ),
        }
    }

    /// What the cache of blocks holds.
    pub(super) fn cache_bytes(&self) -> u64 {
        self.cache.get_usage() as u64
    }

    fn base(&self) -> Options {
        let mut options = Options::default();
        options.create_if_missing(self.create);
        options.set_write_buffer_manager(&self.buffers);
        options.set_max_open_files(OPEN_FILES_MAX);
        options.set_max_background_jobs(2);
        options.set_keep_log_file_num(2);
        options.set_log_level(LogLevel::Warn);
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        // No clock is read for them, and they are kept per core. The binding's levels are one too high from here on: this
        // one is RocksDB's `kExceptTimers`, which keeps sizes beside the counters; there is no way to ask for less.
        options.enable_statistics();
        options.set_statistics_level(StatsLevel::ExceptHistogramOrTimers);
        options
    }

    /// Entries live briefly: written once with a synced WAL, read from memory, purged soon.
    pub(super) fn log(&self) -> Options {
        let mut options = self.base();
        options.set_write_buffer_size(LOG_WRITE_BUFFER_BYTES);
        options.set_compression_type(DBCompressionType::None);
        // What was acknowledged lies in the WAL. Damage in it is refused, but for a last record that is not whole, which
        // nobody was told of; the other modes leave out the rest from there on and say nothing. That needs WAL files that
        // end where they end: a recycled one has old records behind the new, which look like damage, and which whoever
        // writes values could make look like records.
        options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        // a whole file that is missing, or too short, is noticed as well
        options.set_track_and_verify_wals_in_manifest(true);
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&self.cache);
        options.set_block_based_table_factory(&table);
        options
    }

    /// Many small keys under long equal beginnings, read by point and by range.
    pub(super) fn state(&self) -> Options {
        let mut options = self.base();
        options.set_write_buffer_size(STATE_WRITE_BUFFER_BYTES);
        options.set_max_write_buffer_number(3);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_prefix_extractor(SliceTransform::create_fixed_prefix(STATE_PREFIX_BYTES));
        options.set_memtable_prefix_bloom_ratio(0.02);
        options.set_memtable_whole_key_filtering(true);
        options.set_level_compaction_dynamic_level_bytes(true);
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&self.cache);
        table.set_block_size(STATE_BLOCK_BYTES);
        table.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
        // In parts: as one block, that of a full file is larger than the shard of the cache which it falls into, and would be
        // read from the disk for every key.
        table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
        table.set_partition_filters(true);
        table.set_metadata_block_size(STATE_BLOCK_BYTES);
        table.set_cache_index_and_filter_blocks(true);
        table.set_cache_index_and_filter_blocks_with_high_priority(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        table.set_pin_top_level_index_and_filter(true);
        options.set_block_based_table_factory(&table);
        options
    }
}

/// Blocks that the cache had, and had not, for a database that was opened with these options.
pub(super) fn blocks(options: &Options) -> (u64, u64) {
    (options.get_ticker_count(Ticker::BlockCacheHit), options.get_ticker_count(Ticker::BlockCacheMiss))
}

/// What a database holds that is not in files yet; 0 where it does not tell.
pub(super) fn buffered_bytes(db: &DB) -> u64 {
    db.property_int_value(CUR_SIZE_ALL_MEM_TABLES).ok().flatten().unwrap_or_default()
}
