// What a reader does with a segmentation in OHIF, in headless Chromium, and what the viewer then holds and shows.
//
// Reads a job as JSON on stdin (see ohif.py) and writes `viewer.json` and one picture per slice into the folder of each
// study. Exits with 1, and says why with the page's own console, where the viewer does not come so far.
import { createRequire } from 'node:module';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const job = JSON.parse(readFileSync(0, 'utf8'));
const { chromium } = createRequire(join(job.playwright, 'package.json'))(job.playwright);
const said = [];

// Without the background-networking switches Chromium keeps asking for hosts that a closed network refuses.
const args = [
  '--no-sandbox', '--enable-unsafe-swiftshader', '--disable-quic', '--no-first-run', '--disable-sync',
  '--disable-background-networking', '--disable-component-update', '--disable-dev-shm-usage',
];
const browser = await chromium.launch({ executablePath: job.chromium, headless: true, args });
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  page.setDefaultTimeout(job.timeout_ms);
  page.on('console', (message) => said.push(`${message.type()}: ${message.text()}`));
  page.on('pageerror', (error) => said.push(`page error: ${error.message}`));
  page.on('response', (answer) => answer.status() >= 400 && said.push(`${answer.status()} ${answer.url()}`));
  for (const study of job.studies) {
    said.push(`study ${study.uid}`);
    await open(page, study);
    const held = await page.evaluate(segmentations);
    const shown = [];
    for (const uid of study.slices) {
      const picture = join(study.folder, `slice-${shown.length}.png`);
      await page.evaluate(jump, uid);
      await page.waitForFunction(isUp, uid);
      const place = await page.evaluate(corners);
      await page.screenshot({ path: picture });
      shown.push({ ...place, picture });
    }
    writeFileSync(join(study.folder, 'viewer.json'), JSON.stringify({ held, shown }));
  }
} catch (error) {
  console.error(`${error.stack}\n${said.join('\n').slice(-6000)}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}

/** Open a study, put its SEG on the viewport, and answer "Do you want to open this Segmentation?" with yes. */
async function open(page, study) {
  await page.goto(`${job.url}/segmentation?StudyInstanceUIDs=${study.uid}`);
  await page.locator('[data-cy="study-browser-thumbnail-no-image"]', { hasText: study.opens }).dblclick();
  await page.locator('[data-cy="yes-hydrate-btn"]').click();
  // The dialogue goes, the viewport is the source's again, and the segmentation is drawn over it.
  await page.locator('[data-cy="yes-hydrate-btn"]').waitFor({ state: 'detached' });
  await page.waitForFunction(() => {
    const { displaySetService, viewportGridService, segmentationService } = window.services;
    const id = viewportGridService.getActiveViewportId();
    const [uid] = viewportGridService.getDisplaySetsUIDsForViewport(id);
    const drawn = segmentationService.getSegmentationRepresentations(id);
    return displaySetService.getDisplaySetByUID(uid)?.Modality !== 'SEG' && drawn.length > 0;
  });
}

/**
 * In the page: the label maps of every segmentation that cornerstone holds. A segment is bound to a value in one label
 * map; overlapping segments lie in further images of it, so that one source instance may have several.
 */
function segmentations() {
  const { cache, metaData } = window.cornerstone;
  const base64 = (bytes) => {
    let text = '';
    for (let at = 0; at < bytes.length; at += 32768) {
      text += String.fromCharCode(...bytes.subarray(at, at + 32768));
    }
    return btoa(text);
  };
  const image = (id) => {
    const found = cache.getImage(id);
    const pixels = found.voxelManager.getScalarData();
    if (!(pixels instanceof Uint8Array)) {
      throw new Error(`a label map of ${pixels.constructor.name}`);
    }
    const { SOPInstanceUID } = metaData.get('instance', found.referencedImageId);
    return { source: SOPInstanceUID, rows: found.rows, columns: found.columns, pixels: base64(pixels) };
  };
  const { segmentationService, viewportGridService } = window.services;
  const [drawn] = segmentationService.getSegmentationRepresentations(viewportGridService.getActiveViewportId());
  return window.cornerstoneTools.segmentation.state.getSegmentations().map((each) => {
    const { labelmaps, segmentBindings } = each.representationData.Labelmap;
    return {
      segments: Object.values(each.segments).map(({ segmentIndex, label }) => ({
        number: segmentIndex,
        label,
        color: drawn.segments[segmentIndex].color.slice(0, 3),
        labelmap: segmentBindings[segmentIndex].labelmapId,
        value: segmentBindings[segmentIndex].labelValue,
      })),
      labelmaps: Object.fromEntries(Object.entries(labelmaps).map(([id, map]) => [id, map.imageIds.map(image)])),
    };
  });
}

/** In the page: ask for a source instance. */
function jump(uid) {
  const { cornerstoneViewportService, viewportGridService } = window.services;
  const viewport = cornerstoneViewportService.getCornerstoneViewport(viewportGridService.getActiveViewportId());
  const is = (id) => window.cornerstone.metaData.get('instance', id)?.SOPInstanceUID === uid;
  return window.cornerstone.utilities.jumpToSlice(viewport.element, { imageIndex: viewport.getImageIds().findIndex(is) });
}

/** In the page: whether that instance is what is drawn. */
function isUp(uid) {
  const { cornerstoneViewportService, viewportGridService } = window.services;
  const viewport = cornerstoneViewportService.getCornerstoneViewport(viewportGridService.getActiveViewportId());
  const drawn = viewport.getCornerstoneImage()?.imageId;
  const grid = document.querySelector('[data-cy="viewport-grid"]').innerText;
  return window.cornerstone.metaData.get('instance', drawn)?.SOPInstanceUID === uid && !grid.includes('Loading');
}

/** In the page: what is drawn, once it is, and where on the page the centres of three of its corner voxels are. */
async function corners() {
  const { cornerstoneViewportService, viewportGridService } = window.services;
  const viewport = cornerstoneViewportService.getCornerstoneViewport(viewportGridService.getActiveViewportId());
  viewport.render();
  for (let frame = 0; frame < 3; frame++) {
    await new Promise(requestAnimationFrame);
  }
  const id = viewport.getCornerstoneImage().imageId;
  const plane = window.cornerstone.metaData.get('imagePlaneModule', id);
  const { left, top } = viewport.canvas.getBoundingClientRect();
  const at = (row, column) => {
    const world = [0, 1, 2].map((axis) =>
      plane.imagePositionPatient[axis] +
      row * plane.rowPixelSpacing * plane.columnCosines[axis] +
      column * plane.columnPixelSpacing * plane.rowCosines[axis]);
    const [x, y] = viewport.worldToCanvas(world);
    return [left + x, top + y];
  };
  return {
    source: window.cornerstone.metaData.get('instance', id).SOPInstanceUID,
    origin: at(0, 0),
    last_row: at(plane.rows - 1, 0),
    last_column: at(0, plane.columns - 1),
  };
}
