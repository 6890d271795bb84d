/** Where the screens begin: language, appearance, address, stream, and then the shell. */
import { mount } from 'svelte';
import App from './App.svelte';
import './app.css';
import { i18n } from './lib/i18n.svelte';
import { live } from './lib/live.svelte';
import { router } from './lib/router.svelte';
import { theme } from './lib/theme.svelte';

theme.begin();
await i18n.begin();
router.start();
live.begin();

const target = document.getElementById('app');
if (target) mount(App, { target });
